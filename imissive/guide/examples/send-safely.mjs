import { setTimeout as sleep } from "node:timers/promises";

const url = "https://api.example.com/v1/sms/send";

// The accepted message, sent once however often it takes to get an answer.
async function send(message, key, attempts = 6) {
  for (let attempt = 0; attempt < attempts; attempt++) {
    let wait = 2 ** attempt;
    let response, answer;
    try {
      response = await fetch(url, {
        method: "POST",
        headers: {
          Authorization: "Bearer YOUR_API_KEY",
          "Content-Type": "application/json",
          "Idempotency-Key": key,
        },
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(30_000),
      });
      answer = await response.json();
    } catch {
      // No answer: the same key makes it safe to repeat.
    }
    if (answer) {
      if (response.ok) return answer;
      const busy = answer.error.code === "IDEMPOTENCY_IN_PROGRESS";
      if (![429, 500, 503].includes(response.status) && !busy) {
        throw new Error(answer.error.message);
      }
      wait = Number(response.headers.get("Retry-After") ?? wait);
    }
    await sleep(wait * 1000);
  }
  throw new Error("The platform did not answer.");
}

const message = await send(
  {
    to: "+966501234567",
    message: "Your order 10482 is on its way.",
    reference: "order-10482",
  },
  "order-10482",
);
console.log(message.message_id, message.status);
