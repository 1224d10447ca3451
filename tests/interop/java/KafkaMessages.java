import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.MemoryRecords;

/**
 * Kafka's own reader and writer of message bodies, as an oracle of ours: one line in, one line out.
 *
 * <p>{@code make KEY Q|R VERSION ELEMENTS} writes a message of made-up values whose arrays have so many elements, and which has nulls where they are
 * legal if that is 1. {@code read KEY Q|R VERSION HEX} reads a message and writes it again. Both answer {@code HEX JSON}: the bytes that Kafka's
 * classes write, and the values as nested lists (bytes in hexadecimal; a struct in a struct is spliced in, one of a single field in a list is bare),
 * or {@code error: why}. End of input ends the process.
 */
public final class KafkaMessages {
    private static final String[] TEXTS = {"topic", "\u00e9\u260e", "", "group-1", "\ud83d\ude00"};

    private final boolean nulls;
    private final int elements;
    private int made;

    private KafkaMessages(int elements) {
        this.elements = elements;
        this.nulls = elements == 1;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, false, "UTF-8");
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                answer = answer(line.split(" ", -1));
            } catch (RuntimeException error) {
                answer = "error: " + error;
            }
            answers.print(answer + "\n");
            answers.flush();
        }
    }

    private static String answer(String[] parts) {
        ApiKeys api = ApiKeys.forId(Integer.parseInt(parts[1]));
        short version = Short.parseShort(parts[3]);
        Schema schema = parts[2].equals("Q") ? api.requestSchema(version) : api.responseSchema(version);
        Struct message;
        if (parts[0].equals("make")) {
            message = new KafkaMessages(Integer.parseInt(parts[4])).struct(schema);
        } else {
            ByteBuffer bytes = ByteBuffer.wrap(bytes(parts[4]));
            message = schema.read(bytes);
            if (bytes.hasRemaining()) {
                return "error: " + bytes.remaining() + " bytes are left";
            }
        }
        ByteBuffer written = ByteBuffer.allocate(schema.sizeOf(message));
        schema.write(written, message);
        written.flip();
        return hex(written) + " " + json(fields(message));
    }

    private Struct struct(Schema schema) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            struct.set(field, value(field.def.type));
        }
        return struct;
    }

    private Object value(Type type) {
        if (type instanceof Schema) {
            return struct((Schema) type);
        }
        if (nulls && type.isNullable() && type != Type.RECORDS) { // their writer has no null records
            return null;
        }
        if (type instanceof ArrayOf) {
            Object[] array = new Object[elements];
            for (int i = 0; i < elements; i++) {
                array[i] = value(((ArrayOf) type).type());
            }
            return array;
        }
        made++;
        long sign = made % 2 == 0 ? -1 : 1;
        switch (type.toString()) {
            case "BOOLEAN":
                return made % 2 == 0;
            case "INT8":
                return (byte) (sign * (made % 128));
            case "INT16":
                return (short) (sign * (0x0100 + made));
            case "INT32":
                return (int) (sign * (0x01020300 + made));
            case "INT64":
                return sign * (0x0102030405060700L + made);
            case "STRING":
            case "NULLABLE_STRING":
                return TEXTS[made % TEXTS.length];
            case "RECORDS":
                return MemoryRecords.readableRecords(someBytes());
            default:
                return someBytes();
        }
    }

    private ByteBuffer someBytes() {
        return ByteBuffer.wrap(new byte[] {(byte) made, 0, -1});
    }

    private static List<Object> fields(Struct struct) {
        List<Object> flat = new ArrayList<>();
        for (BoundField field : struct.schema().fields()) {
            Object value = struct.get(field);
            if (value instanceof Struct) {
                flat.addAll(fields((Struct) value));
            } else {
                flat.add(value);
            }
        }
        return flat;
    }

    private static String json(Object value) {
        if (value instanceof Object[] || value instanceof List) {
            StringBuilder text = new StringBuilder("[");
            for (Object each : value instanceof List ? ((List<?>) value).toArray() : (Object[]) value) {
                Object item = each;
                if (each instanceof Struct) {
                    List<Object> fields = fields((Struct) each);
                    item = fields.size() == 1 ? fields.get(0) : fields;
                }
                text.append(text.length() > 1 ? "," : "").append(json(item));
            }
            return text.append("]").toString();
        }
        if (value instanceof MemoryRecords) {
            return "\"" + hex(((MemoryRecords) value).buffer()) + "\"";
        }
        if (value instanceof ByteBuffer) {
            return "\"" + hex((ByteBuffer) value) + "\"";
        }
        return value instanceof String ? quote((String) value) : String.valueOf(value);
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            boolean isPlain = each >= ' ' && each < 127 && each != '"' && each != '\\';
            quoted.append(isPlain ? String.valueOf(each) : String.format("\\u%04x", (int) each));
        }
        return quoted.append("\"").toString();
    }

    private static String hex(ByteBuffer buffer) {
        StringBuilder text = new StringBuilder();
        for (ByteBuffer rest = buffer.duplicate(); rest.hasRemaining(); ) {
            text.append(String.format("%02x", rest.get()));
        }
        return text.toString();
    }

    private static byte[] bytes(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }
}
