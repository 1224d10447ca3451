"""Words of the pages about channels: list, settings, precheck, objects, release."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    # states, in the service's words
    "state.Prechecking": ("Prechecking", "预检查中"),
    "state.Not Started": ("Not Started", "未启动"),
    "state.Performing Initial Change Tracking": ("Performing Initial Change Tracking", "初始订阅中"),
    "state.Normal": ("Normal", "正常"),
    "state.Error": ("Error", "异常"),
    "state.retried": ("Tried again by itself until", "自动重试至"),
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
    "channel.file_note": (
        (
            "This channel is defined by the configuration file. Edit the file, then run `binwire reload`; "
            "here it can only be looked at."
        ),
        "此通道由配置文件定义。请修改配置文件后执行 `binwire reload`；此处仅供查看。",
    ),
    # the list
    "channels.title": ("Channels", "订阅通道"),
    "channels.create": ("Create channel", "创建通道"),
    "channels.search": ("Id or name", "ID 或名称"),
    "channels.region": ("Region", "地域"),
    "channels.region.all": ("All regions", "全部地域"),
    "channels.name": ("Id and name", "ID / 名称"),
    "channels.state": ("State", "状态"),
    "channels.checkpoint": ("Consumption checkpoint", "消费位点"),
    "channels.range": ("Data range", "数据范围"),
    "channels.release_selected": ("Release selected…", "释放所选…"),
    "channels.empty": (
        "No channel yet. Create one to track a database's changes.",
        "暂无通道。创建一个通道以订阅数据库变更。",
    ),
    "channels.none_found": ("No channel fits this filter.", "没有符合条件的通道。"),
    # what can be done with a channel
    "action.precheck_channel": ("Precheck", "预检查"),
    "action.precheck_again": ("Precheck again", "重新预检查"),
    "action.start_channel": ("Start", "启动"),
    "action.resume_channel": ("Try again now", "立即重试"),
    "action.rename_channel": ("Rename", "重命名"),
    "action.change_source": ("Change…", "更改…"),
    "action.release_channel": ("Release", "释放"),
    "said.started": ("The channel starts.", "通道正在启动。"),
    "said.prechecking": ("The precheck runs.", "正在预检查。"),
    "said.resumed": ("The channel tries again.", "通道正在重试。"),
    "said.renamed": ("The channel has its new name.", "通道已重命名。"),
    "said.source": (
        "The new source passed the precheck and is in force from now on.",
        "新的源库信息已通过预检查，从现在起生效。",
    ),
    "said.objects": (
        "The new objects passed the precheck and are in force from now on.",
        "新的订阅对象已通过预检查，从现在起生效。",
    ),
    # settings
    "settings.overview": ("Channel", "通道信息"),
    "settings.name": ("Name", "名称"),
    "settings.id": ("Id", "ID"),
    "settings.state": ("State", "状态"),
    "settings.source": ("Source", "源库"),
    "settings.region": ("Region", "地域"),
    "settings.instance_id": ("Instance id", "实例 ID"),
    "settings.created": ("Created", "创建时间"),
    "settings.silent": ("Source last heard", "上次收到源库数据"),
    "settings.access": ("Access", "接入信息"),
    "settings.topic": ("Topic", "Topic"),
    "settings.endpoint": ("Endpoint “{name}”", "接入点“{name}”"),
    "settings.no_listeners": ("No Kafka listener is open.", "没有开放的 Kafka 监听地址。"),
    "settings.data": ("Data", "数据"),
    "settings.start": ("Tracked from", "订阅起点"),
    "settings.start.now": ("the moment it was started", "启动时刻"),
    "settings.position": ("Position in the binlog", "Binlog 位点"),
    "settings.range": ("Data range", "数据范围"),
    "settings.offsets": ("Offsets", "Offset 范围"),
    "settings.rate": ("Rate", "速率"),
    "settings.rate_value": ("{rate} records/s", "{rate} 条/秒"),
    "settings.lag": ("Lag behind the source", "相对源库的延迟"),
    "settings.retention": ("Kept for", "保留时间"),
    "settings.disk": ("Disk", "磁盘"),
    "settings.disk_used": ("{used} used, {free} free", "已用 {used}，剩余 {free}"),
    "settings.disk_needed": ("{needed} needed for what is to be kept", "保留期内预计需要 {needed}"),
    "settings.data_types": ("Data types", "数据类型"),
    "settings.dml": ("Data updates", "数据更新"),
    "settings.ddl": ("Schema updates", "结构更新"),
    "settings.objects": ("Tracked objects", "订阅对象"),
    "settings.objects_more": ("and {more} more", "及另外 {more} 个"),
    "settings.damages": ("Damage found in the log", "日志中发现损坏"),
    "settings.progress": ("Initial change tracking", "初始订阅"),
    "settings.whitelist": ("Addresses for the source's whitelist", "需加入源库白名单的地址"),
    "settings.rename": ("Rename the channel", "重命名通道"),
    "settings.name_hint": (
        "Up to 128 characters; several channels may have the same name.",
        "最多 128 个字符，名称可以重复。",
    ),
    "settings.change_source": ("Change the source", "更改源库信息"),
    "settings.source_note": (
        (
            "Another address, account, password or encryption for the same server. A precheck runs first; the channel "
            "then goes on where its data ends."
        ),
        "可更改同一源库的地址、账号、密码或加密方式。系统会先执行预检查，通过后通道从已有数据的末尾继续。",
    ),
    "settings.password_hint": (
        "Enter it in any case: the one that is kept is not sent elsewhere.",
        "每次都需要输入：已保存的密码不会被发送到其他地方。",
    ),
    "settings.source_submit": ("Precheck and change", "预检查并更改"),
    # precheck
    "precheck.title": ("Precheck", "预检查"),
    "precheck.when": ("Last run", "上次执行"),
    "precheck.never": ("Not run yet.", "尚未执行。"),
    "precheck.running": ("Looking at the source…", "正在检查源库…"),
    "precheck.item": ("Item", "检查项"),
    "precheck.outcome": ("Result", "结果"),
    "precheck.found": ("Found, what it means, and what to do", "检查结果、影响与处理方法"),
    "precheck.passed": ("Passed", "通过"),
    "precheck.warning": ("Warning", "警告"),
    "precheck.failed": ("Failed", "未通过"),
    "precheck.all_passed": ("All {count} items passed", "全部 {count} 项通过"),
    "precheck.others_passed": ("The other {count} items passed", "其余 {count} 项通过"),
    "precheck.remedy": ("What to do", "处理方法"),
    # objects
    "objects.title": ("Tracked objects", "订阅对象"),
    "objects.object": ("Database or table", "库或表"),
    "objects.kind.database": ("whole database", "整库"),
    "objects.kind.table": ("table", "表"),
    "objects.change": ("Change objects", "修改订阅对象"),
    "objects.change_note": (
        (
            "The precheck runs with the new objects first. They are in force from the moment it has passed: earlier "
            "changes of tables added here are not tracked; what was tracked of tables removed here stays its time."
        ),
        "系统会先用新的对象执行预检查，通过后立即生效：新增表此前的变更不会被订阅，移除的表已有数据在保留期内仍然存在。",
    ),
    "objects.submit": ("Precheck and change", "预检查并修改"),
    "objects.tracked": ("tracked", "已订阅"),
    "objects.pick": ("Add from the source", "从源库添加"),
    "objects.add": ("Add by name, one on each line", "按名称添加，每行一个"),
    "objects.add_hint": (
        "`database` or `database.table`; a name with a dot stands in backticks.",
        "填写 `库名` 或 `库名.表名`；名称含点号时请加反引号。",
    ),
    "objects.refused": ("These objects are not in force", "以下对象尚未生效"),
    # release
    "release.title": ("Release “{name}”", "释放“{name}”"),
    "release.titles": ("Release {count} channels", "释放 {count} 个通道"),
    "release.goes": ("This goes for good", "以下内容将被永久删除"),
    "release.take_back": ("Take back at the source yourself", "请自行在源库撤销"),
    "release.nothing_to_take_back": ("Nothing: no account was created there.", "无：未在源库创建账号。"),
    "release.submit": ("Release for good", "永久释放"),
    "release.final": ("Nothing brings it back.", "此操作不可恢复。"),
    "release.none_chosen": ("No channel was chosen.", "未选择通道。"),
    "release.done": ("Released", "已释放"),
    "release.kept": ("not released", "未释放"),
}
