// Keeps what every order of a shop costs in memory by following the changes of its table.
//
// Changes come at least once: each is applied by the row's primary key, so one that comes twice does no harm, and is
// committed when it was applied.

const fs = require("node:fs");
const path = require("node:path");
const avro = require("avsc");
const { Kafka, logLevel } = require("kafkajs");

const schema = JSON.parse(fs.readFileSync(path.join(__dirname, "record.avsc"), "utf8"));
const recordType = avro.Type.forSchema(schema, { wrapUnions: true });
const CHANGES = ["INSERT", "UPDATE", "DELETE"];

class Orders {
  constructor() {
    /** The amounts of all orders by their ids, both as the digits that the record has. */
    this.amounts = {};
  }

  /** Takes one change; records of anything else than rows of `orders` are passed over. */
  apply(record) {
    if (!CHANGES.includes(record.operation) || !record.objectName.string.endsWith(".orders")) {
      return;
    }
    const before = row(record, "beforeImages");
    const after = row(record, "afterImages");
    if (before !== null) {
      delete this.amounts[before.id];
    }
    if (after !== null) {
      this.amounts[after.id] = after.amount;
    }
  }

  /** Applies and commits what comes; the result ends that. */
  async follow({ brokers, topic, sid, username, password }) {
    const kafka = new Kafka({
      brokers: [brokers],
      sasl: { mechanism: "plain", username: `${username}-${sid}`, password },
      logLevel: logLevel.ERROR,
    });
    const consumer = kafka.consumer({ groupId: sid, maxWaitTimeInMs: 100 });
    await consumer.connect();
    // fromBeginning: where the group has consumed nothing yet
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommitThreshold: 1,
      eachMessage: async ({ message }) => this.apply(recordType.fromBuffer(message.value)),
    });
    return () => consumer.disconnect();
  }
}

/** An image by column name; integers and decimals come with their digits as text. */
function row(record, image) {
  if (record[image] === null) {
    return null;
  }
  const cells = record[image].array.map((cell) => (cell === null ? null : Object.values(cell)[0].value));
  return Object.fromEntries(record.fields.array.map((field, index) => [field.name, cells[index]]));
}

module.exports = { Orders };
