import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.time.Duration;
import java.util.Set;

public class SendSafely {
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static final Set<Integer> PASSING = Set.of(429, 500, 503);

    // The answer with the accepted message, sent once however often it takes to get it.
    static String send(String message, String key, int attempts) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://api.example.com/v1/sms/send"))
            .header("Authorization", "Bearer YOUR_API_KEY")
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .timeout(Duration.ofSeconds(30))
            .POST(HttpRequest.BodyPublishers.ofString(message))
            .build();
        for (int attempt = 0; attempt < attempts; attempt++) {
            long wait = 1L << attempt;
            try {
                HttpResponse<String> response =
                    CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
                if (response.statusCode() < 300) return response.body();
                boolean busy = response.body().contains("IDEMPOTENCY_IN_PROGRESS");
                if (!PASSING.contains(response.statusCode()) && !busy) {
                    throw new IllegalArgumentException(response.body());
                }
                wait = response.headers().firstValueAsLong("Retry-After").orElse(wait);
            } catch (IOException noAnswer) {
                // The same key makes it safe to repeat.
            }
            Thread.sleep(Duration.ofSeconds(wait).toMillis());
        }
        throw new IOException("The platform did not answer.");
    }

    public static void main(String[] args) throws Exception {
        String message = """
            {
              "to": "+966501234567",
              "message": "Your order 10482 is on its way.",
              "reference": "order-10482"
            }
            """;
        System.out.println(send(message, "order-10482", 6));
    }
}
