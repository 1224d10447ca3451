"""Words of the pages about channels: list, wizard, settings, objects, release."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    # states, in the service's words
    "state.Prechecking": ("Prechecking", "预检查中"),
    "state.Not Started": ("Not Started", "未启动"),
    "state.Performing Initial Change Tracking": ("Performing Initial Change Tracking", "初始订阅中"),
    "state.Normal": ("Normal", "正常"),
    "state.Error": ("Error", "异常"),
    "state.retried": ("Retried until {time}", "自动重试至 {time}"),
    "state.needs_action": ("Needs action", "需要处理"),
    # tabs of a channel
    "channel.tabs": ("Pages of this channel", "通道页面"),
    "channel.settings": ("Settings", "订阅配置"),
    "channel.records": ("Tracked data", "订阅数据"),
    "channel.consume": ("Data consumption", "数据消费"),
    "channel.objects": ("Objects", "订阅对象"),
    "channel.monitoring": ("Monitoring", "监控"),
    "channel.samples": ("Sample code", "示例代码"),
    "channel.defined_by.file": ("defined by the file", "由配置文件定义"),
    "channel.defined_by.none": ("no longer in the file", "已不在配置文件中"),
}
