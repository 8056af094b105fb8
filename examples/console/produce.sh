#!/bin/sh
# Produce one calculation with the console producer that comes with Apache Kafka: a line is a record.
set -eu
kafka-console-producer.sh \
  --bootstrap-server "${KAFKA_BOOTSTRAP:-127.0.0.1:9092}" \
  --topic "${TOPIC:-calculation.requests}" <<END
{"callback_url": "$CALLBACK_URL", "message": [{"name": "sum", "num_1": 40, "num_2": 2, "operation": "+", "result_rounding": 0}]}
END
