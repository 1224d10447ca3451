package shop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.Map;

/**
 * `binwire fixture`: a server for one test run, whose changes come by call. It ends when its standard input does, and so
 * with this JVM, however that ends. `GET /` of its address lists the calls.
 */
public final class Fixture implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final HttpClient http = HttpClient.newHttpClient();
    private final Process process;
    private final String url;
    public final String brokers;

    public Fixture() throws IOException {
        String command = System.getenv().getOrDefault("BINWIRE", "binwire");
        process = new ProcessBuilder(command, "fixture").redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String line = process.inputReader().readLine();
        if (line == null) {
            throw new IOException(command + " fixture did not start");
        }
        JsonNode ready = JSON.readTree(line).get("ready");
        url = ready.get("url").asText();
        brokers = ready.get("bootstrap_servers").asText();
    }

    /** The result of a call; the arguments are names and values in turns. */
    public JsonNode call(String name, Object... arguments) throws IOException, InterruptedException {
        Map<String, Object> given = new HashMap<>();
        for (int index = 0; index < arguments.length; index += 2) {
            given.put((String) arguments[index], arguments[index + 1]);
        }
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/" + name))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(given)))
            .build();
        HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
        JsonNode result = JSON.readTree(response.body());
        if (response.statusCode() != 200) {
            throw new IOException(result.get("error").asText());
        }
        return result;
    }

    @Override
    public void close() throws IOException {
        process.getOutputStream().close();
    }
}
