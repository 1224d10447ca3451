const assert = require("node:assert/strict");
const { after, before, beforeEach, test } = require("node:test");
const { Fixture } = require("./fixture");
const { Orders } = require("./orders");

const TABLE = "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(9,2) NOT NULL)";
let fixture;
let channel;

before(async () => {
  fixture = await Fixture.start();
});

after(() => fixture.stop());

beforeEach(async () => {
  channel = await fixture.channel();
  await channel.call("table", { sql: TABLE });
});

test("rows that come, change and go", async () => {
  const orders = new Orders();
  const stop = await orders.follow(channel);
  const [first, changed, second] = [{ id: 1, amount: "9.90" }, { id: 1, amount: "8.50" }, { id: 2, amount: 20 }];
  await channel.call("insert", { table: "orders", rows: [first, second] });
  await channel.call("update", { table: "orders", rows: [[first, changed]] });
  await channel.call("delete", { table: "orders", rows: [second] });
  await channel.call("wait_consumed");
  assert.deepEqual(orders.amounts, { 1: "8.50" });
  await stop();
});

test("a restart goes on where it was", async () => {
  const stop = await new Orders().follow(channel);
  await channel.call("insert", { table: "orders", rows: [{ id: 1, amount: 10 }] });
  await channel.call("wait_consumed");
  await stop();
  await channel.call("insert", { table: "orders", rows: [{ id: 2, amount: 20 }] });
  const restarted = new Orders();
  const stopAgain = await restarted.follow(channel);
  await channel.call("wait_consumed");
  assert.deepEqual(restarted.amounts, { 2: "20.00" });
  await stopAgain();
});

test("a connection that breaks loses nothing", async () => {
  await channel.call("fault_cut", { api: "Fetch", after_bytes: 20 });
  const orders = new Orders();
  const stop = await orders.follow(channel);
  await channel.call("insert", { table: "orders", rows: [{ id: 1, amount: 10 }] });
  await channel.call("wait_consumed");
  assert.deepEqual(orders.amounts, { 1: "10.00" });
  await stop();
});
