import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The line protocol between a test and a client process, the same for every client library.
 *
 * <p>In: one scenario per line, tab separated: its name, then {@code key=value} arguments. Out: JSON lines, any number of {@code {"record": [offset,
 * timestamp, key, value]}} (base64, null kept) or {@code {"row": [...]}}, closed by one {@code {"done": {...}}} or {@code {"error": "Class: message"}}.
 * Standard output carries nothing else: what a library prints there goes to standard error. End of input ends the process.
 */
abstract class ScenarioLoop {
    private final PrintStream results;

    ScenarioLoop() {
        this.results = System.out;
        System.setOut(System.err);
    }

    abstract Map<String, Object> run(String scenario, Map<String, String> arguments) throws Exception;

    final void serve() throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split("\t");
            Map<String, String> arguments = new HashMap<>();
            for (int i = 1; i < parts.length; i++) {
                int equals = parts[i].indexOf('=');
                arguments.put(parts[i].substring(0, equals), parts[i].substring(equals + 1));
            }
            try {
                emit("done", object(run(parts[0], arguments)));
            } catch (Throwable error) {
                emit("error", quote(error.getClass().getSimpleName() + ": " + error.getMessage()));
                error.printStackTrace();
            }
        }
    }

    final synchronized void emit(String kind, String json) {
        results.print("{\"" + kind + "\": " + json + "}\n");
        results.flush();
    }

    final void record(long offset, long timestamp, byte[] key, byte[] value) {
        emit("record", "[" + offset + ", " + timestamp + ", " + base64(key) + ", " + base64(value) + "]");
    }

    static String base64(byte[] bytes) {
        return bytes == null ? "null" : quote(Base64.getEncoder().encodeToString(bytes));
    }

    static String quote(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }

    static String object(Map<String, Object> fields) {
        StringBuilder json = new StringBuilder("{");
        for (Map.Entry<String, Object> field : fields.entrySet()) {
            json.append(json.length() > 1 ? ", " : "").append(quote(field.getKey())).append(": ");
            Object value = field.getValue();
            json.append(value instanceof Collection ? list((Collection<?>) value) : scalar(value));
        }
        return json.append("}").toString();
    }

    private static String list(Collection<?> values) {
        return values.stream().map(ScenarioLoop::scalar).collect(Collectors.joining(", ", "[", "]"));
    }

    private static String scalar(Object value) {
        return value instanceof String ? quote((String) value) : String.valueOf(value);
    }
}
