# curl repeats it after Retry-After, or waits longer each time.
curl -X POST https://api.example.com/v1/sms/send \
  --retry 5 --retry-all-errors --max-time 30 \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: order-10482" \
  -d '{
  "to": "+966501234567",
  "message": "Your order 10482 is on its way.",
  "reference": "order-10482"
}'
