package jdk.nashorn.api.scripting;

/** Maxwell asks of each value whether it is one of these, of a script; Java has none of them any more since 15. */
public final class ScriptObjectMirror {
    private ScriptObjectMirror() {}
}
