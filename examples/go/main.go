// Produce one calculation with franz-go, which is idempotent with acks=all by default.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	request, err := json.Marshal(map[string]any{
		"callback_url": os.Getenv("CALLBACK_URL"),
		"message": []map[string]any{
			{"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cmp.Or(os.Getenv("KAFKA_BOOTSTRAP"), "127.0.0.1:9092")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	topic := cmp.Or(os.Getenv("TOPIC"), "calculation.requests")
	stored, err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: request}).First()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s/%d@%d\n", stored.Topic, stored.Partition, stored.Offset)
}
