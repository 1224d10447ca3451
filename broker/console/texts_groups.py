"""Words of the pages about consumer groups and what they have consumed."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    "group.title": ("Consumer groups", "消费组"),
    "group.name": ("Group id and name", "消费组 ID / 名称"),
    "group.timestamp": ("Consume timestamp", "消费时间点"),
    "group.remaining": ("Remaining messages", "未消费消息数"),
    "group.delay": ("Delay (s)", "消费延迟（秒）"),
    "group.username": ("Username", "账号"),
    "group.members": ("Members", "消费客户端"),
    "group.active": ("active", "消费中"),
    "group.stands_by": ("stands by", "待命"),
    "group.since": ("since", "自"),
    "group.no_client": ("no client is connected", "没有已连接的客户端"),
    "group.more_members": ("and {more} more", "及另外 {more} 个"),
    "group.empty": (
        "No consumer group yet. A client needs one to read this channel.",
        "暂无消费组。客户端需要使用消费组读取此通道。",
    ),
    "group.note": (
        (
            "A dash stands for what nobody can say while no client is connected. One member reads at a time, the "
            "others stand by."
        ),
        "没有客户端连接时，无法得知的数值以短横线表示。同一时间只有一个客户端消费，其余待命。",
    ),
    "group.count": ("{count} of {most}", "{count} / {most}"),
    "group.create": ("Create consumer group", "新增消费组"),
    "group.new_name": ("Name", "消费组名称"),
    "group.name_hint": ("1 to 128 characters.", "1 至 128 个字符。"),
    "group.username_hint": ("1 to 16 letters, digits or underscores.", "1 至 16 个字母、数字或下划线。"),
    "group.password": ("Password", "密码"),
    "group.password_hint": (
        "8 to 32 characters, with two of: upper case, lower case, digits, special characters.",
        "8 至 32 个字符，至少包含大写字母、小写字母、数字、特殊字符中的两种。",
    ),
    "group.password_again": ("Password once more", "确认密码"),
    "group.change_password": ("Change password", "修改密码"),
    "group.change_password_of": ("Change the password of “{name}”", "修改“{name}”的密码"),
    "group.old_password": ("Old password", "原密码"),
    "group.new_password": ("New password", "新密码"),
    "group.effective": (
        "In force at once: clients that are connected with the old password have to log in anew.",
        "立即生效：使用旧密码连接的客户端需要重新登录。",
    ),
    "group.delete": ("Delete", "删除"),
    "group.delete_title": ("Delete the consumer group “{name}”", "删除消费组“{name}”"),
    "group.delete_goes": (
        (
            "The group, its login and everything it has committed are cleared for good, and its clients are "
            "disconnected. The tracked data stays."
        ),
        "该消费组、其账号及其全部消费位点将被永久清除，已连接的客户端会断开。订阅数据不受影响。",
    ),
    "group.delete_submit": ("Delete for good", "永久删除"),
    "group.defined_by.file": ("defined by the file", "由配置文件定义"),
    "said.group_created": ("The consumer group is there and may log in.", "消费组已创建，可以登录。"),
    "said.password_changed": ("The new password is in force.", "新密码已生效。"),
    "said.group_deleted": ("The consumer group is cleared for good.", "消费组已永久清除。"),
}
