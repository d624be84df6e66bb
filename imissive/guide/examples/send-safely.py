import time

import requests

URL = "https://api.example.com/v1/sms/send"
HEADERS = {"Authorization": "Bearer YOUR_API_KEY"}


def send(message, key, attempts=6):
    """The accepted message, sent once however often it takes to get an answer."""
    headers = {**HEADERS, "Idempotency-Key": key}
    for attempt in range(attempts):
        wait = 2**attempt
        try:
            response = requests.post(URL, headers=headers, json=message, timeout=30)
            answer = response.json()
        except requests.RequestException:
            pass  # no answer: the same key makes it safe to repeat
        else:
            if response.ok:
                return answer
            busy = answer["error"]["code"] == "IDEMPOTENCY_IN_PROGRESS"
            if response.status_code not in (429, 500, 503) and not busy:
                raise ValueError(answer["error"]["message"])
            wait = int(response.headers.get("Retry-After", wait))
        time.sleep(wait)
    raise TimeoutError("The platform did not answer.")


message = send(
    {
        "to": "+966501234567",
        "message": "Your order 10482 is on its way.",
        "reference": "order-10482",
    },
    key="order-10482",
)
print(message["message_id"], message["status"])
