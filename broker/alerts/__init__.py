"""Alerts: rules over what channels and groups are like, incidents, and the messages that tell of them.

watch.py      the rules that are in force, looked at again and again; incidents begin and end; what operations ask
incidents.py  one incident, its messages and how both are kept
delivery.py   who is told, when it is tried again
webhook.py email.py command.py    one way to tell each
"""
