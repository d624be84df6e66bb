package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var client = &http.Client{Timeout: 30 * time.Second}

// send gives the answer with the accepted message, sent once however often it takes to get it.
func send(message, key string, attempts int) (string, error) {
	for attempt := 0; attempt < attempts; attempt++ {
		wait := 1 << attempt
		request, err := http.NewRequest("POST", "https://api.example.com/v1/sms/send", strings.NewReader(message))
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer YOUR_API_KEY")
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
		// Without an answer the same key makes it safe to repeat.
		if response, err := client.Do(request); err == nil {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			status := response.StatusCode
			busy := strings.Contains(string(body), "IDEMPOTENCY_IN_PROGRESS")
			switch {
			case err == nil && status < 300:
				return string(body), nil
			case err == nil && status != 429 && status != 500 && status != 503 && !busy:
				return "", errors.New(string(body))
			}
			if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
				wait = seconds
			}
		}
		time.Sleep(time.Duration(wait) * time.Second)
	}
	return "", errors.New("the platform did not answer")
}

func main() {
	answer, err := send(`{
  "to": "+966501234567",
  "message": "Your order 10482 is on its way.",
  "reference": "order-10482"
}`, "order-10482", 6)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}
