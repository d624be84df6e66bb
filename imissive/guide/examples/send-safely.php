<?php

// The accepted message, sent once however often it takes to get an answer.
function send(array $message, string $key, int $attempts = 6): array
{
    for ($attempt = 0; $attempt < $attempts; $attempt++) {
        $wait = 2 ** $attempt;
        $headers = [];
        $curl = curl_init('https://api.example.com/v1/sms/send');
        curl_setopt_array($curl, [
            CURLOPT_POST => true,
            CURLOPT_HTTPHEADER => [
                'Authorization: Bearer YOUR_API_KEY',
                'Content-Type: application/json',
                "Idempotency-Key: $key",
            ],
            CURLOPT_POSTFIELDS => json_encode($message),
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 30,
            CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$headers) {
                [$name, $value] = explode(':', $line, 2) + [1 => ''];
                $headers[strtolower(trim($name))] = trim($value);
                return strlen($line);
            },
        ]);
        $answer = json_decode(curl_exec($curl) ?: '', true);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($answer !== null) {
            if ($status < 300) {
                return $answer;
            }
            $busy = $answer['error']['code'] === 'IDEMPOTENCY_IN_PROGRESS';
            if (!in_array($status, [429, 500, 503], true) && !$busy) {
                throw new RuntimeException($answer['error']['message']);
            }
            $wait = (int) ($headers['retry-after'] ?? $wait);
        }
        sleep($wait);
    }
    throw new RuntimeException('The platform did not answer.');
}

$message = send([
    'to' => '+966501234567',
    'message' => 'Your order 10482 is on its way.',
    'reference' => 'order-10482',
], 'order-10482');
echo $message['message_id'], ' ', $message['status'], "\n";
