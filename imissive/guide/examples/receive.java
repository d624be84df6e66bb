import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Receive {
    static final byte[] KEY = Base64.getDecoder()
        .decode(System.getenv("WEBHOOK_SECRET").substring("whsec_".length()));

    static boolean genuine(String id, String timestamp, String signatures, String body)
            throws Exception {
        long age = System.currentTimeMillis() / 1000 - Long.parseLong(timestamp);
        if (Math.abs(age) > 300) return false;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(KEY, "HmacSHA256"));
        String signed = id + "." + timestamp + "." + body;
        byte[] digest = mac.doFinal(signed.getBytes(StandardCharsets.UTF_8));
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(digest)).getBytes();
        boolean found = false;
        // While a secret is being rotated there are two signatures.
        for (String signature : signatures.split(" ")) {
            found |= MessageDigest.isEqual(expected, signature.getBytes());
        }
        return found;
    }

    static void receive(HttpExchange exchange) {
        int status = 400;
        try (exchange) {
            // As it came: JSON that was parsed and written again has another signature.
            String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            var headers = exchange.getRequestHeaders();
            if (genuine(headers.getFirst("webhook-id"), headers.getFirst("webhook-timestamp"),
                    headers.getFirst("webhook-signature"), body)) {
                System.out.println(body);
                status = 204;
            }
            exchange.sendResponseHeaders(status, -1);
        } catch (Exception error) {
            System.err.println(error);
        }
    }

    public static void main(String[] args) throws Exception {
        String port = System.getenv().getOrDefault("PORT", "8900");
        var server = HttpServer.create(new InetSocketAddress(Integer.parseInt(port)), 0);
        server.createContext("/", Receive::receive);
        server.start();
    }
}
