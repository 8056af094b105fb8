// Produce one calculation with KafkaJS.
import { Kafka, Partitioners } from "kafkajs";

const { CALLBACK_URL, KAFKA_BOOTSTRAP = "127.0.0.1:9092", TOPIC = "calculation.requests" } = process.env;
const request = {
  callback_url: CALLBACK_URL,
  message: [{ name: "sum", num_1: 40, num_2: 2, operation: "+", result_rounding: 0 }],
};

const kafka = new Kafka({ clientId: "callstream-example", brokers: KAFKA_BOOTSTRAP.split(",") });
const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
const [stored] = await producer.send({ topic: TOPIC, acks: -1, messages: [{ value: JSON.stringify(request) }] });
console.log(`${stored.topicName}/${stored.partition}@${stored.baseOffset}`);
await producer.disconnect();
