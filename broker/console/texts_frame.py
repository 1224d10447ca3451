"""Words of the frame around every page: navigation, lists, forms, times, errors, login."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, str]]] = {
    # the frame
    "frame.skip": ("Skip to the content", "跳到正文"),
    "frame.navigation": ("Main", "主导航"),
    "frame.channels": ("Channels", "订阅通道"),
    "frame.alerts": ("Alerts", "告警"),
    "frame.audit": ("Audit log", "审计日志"),
    "frame.api": ("API", "API"),
    "frame.theme": ("Appearance", "外观"),
    "frame.theme.auto": ("As the system", "跟随系统"),
    "frame.theme.light": ("Light", "浅色"),
    "frame.theme.dark": ("Dark", "深色"),
    "frame.zone": ("Times in {zone}", "时间按 {zone} 显示"),
    "frame.offline": ("The server does not answer. Trying again…", "服务器没有响应，正在重试…"),
    "frame.logout": ("Log out", "退出登录"),
    # lists
    "list.empty": ("Nothing here yet.", "暂无数据。"),
    "list.total": ("{total} in all", "共 {total} 条"),
    "list.page": ("Page {page} of {pages}", "第 {page} / {pages} 页"),
    "list.pages": ("Pages", "分页"),
    "list.previous": ("Previous", "上一页"),
    "list.next": ("Next", "下一页"),
    "list.search": ("Search", "搜索"),
    "list.clear": ("Clear", "清除"),
    "list.actions": ("Actions", "操作"),
    "list.select": ("Select {name}", "选择 {name}"),
    "list.select_all": ("Select all", "全选"),
    "list.scroll": ("Table that scrolls sideways: {name}", "可横向滚动的表格：{name}"),
    # forms and dialogs
    "form.cancel": ("Cancel", "取消"),
    "form.close": ("Close", "关闭"),
    "form.save": ("Save", "保存"),
    "form.create": ("Create", "创建"),
    "form.delete": ("Delete", "删除"),
    "form.edit": ("Edit", "修改"),
    "form.back": ("Back", "返回"),
    "form.optional": ("optional", "可选"),
    "form.copy": ("Copy", "复制"),
    "form.copied": ("Copied", "已复制"),
    "form.type_to_confirm": ("Type {word} to confirm", "请输入 {word} 以确认"),
    # values
    "value.none": ("none", "无"),
    "value.unknown": ("not known yet", "尚不可知"),
    "value.cut": ("{shown} of {total} shown", "共 {total}，已显示 {shown}"),
    "value.from_to": ("{start} to {end}", "{start} 至 {end}"),
    "value.ago": ("{duration} ago", "{duration} 前"),
    # errors
    "error.title.invalid": ("Check what was entered", "请检查输入内容"),
    "error.title.unauthenticated": ("Log in first", "请先登录"),
    "error.title.forbidden": ("This is not allowed", "不允许此操作"),
    "error.title.not_found": ("There is no such thing", "未找到"),
    "error.title.not_allowed_now": ("Not possible at the moment", "当前状态不允许此操作"),
    "error.title.defined_by_file": ("Defined by the file", "由配置文件定义"),
    "error.title.precheck_failed": ("The precheck did not pass", "预检查未通过"),
    "error.title.limit_reached": ("The limit is reached", "已达到上限"),
    "error.title.too_large": ("Too large", "内容过大"),
    "error.title.unsupported_type": ("Sent in another form", "格式不受支持"),
    "error.title.too_many_requests": ("Too many tries", "尝试次数过多"),
    "error.title.source_unavailable": ("The source cannot be used", "源库无法使用"),
    "error.title.storage_unavailable": ("Not available at the moment", "暂不可用"),
    "error.title.internal": ("Something went wrong in the server", "服务器内部错误"),
    "error.home": ("To the list of channels", "返回通道列表"),
    # login
    "login.title": ("Log in", "登录"),
    "login.password": ("Password or token", "密码或令牌"),
    "login.submit": ("Log in", "登录"),
    "login.wrong": ("This is not right", "密码或令牌不正确"),
    "login.about": (
        "A MySQL binlog as a Kafka topic, self-hosted.",
        "自托管的 MySQL binlog 订阅服务，以 Kafka 主题提供数据。",
    ),
    "said.logged_out": ("You are logged out.", "您已退出登录。"),
    "said.session_over": (
        "Your login is over. What you sent last was not done: log in, and send it again.",
        "登录已失效，上一次操作未执行：请重新登录后再试。",
    ),
}
