// The scenarios of kafka-node: ConsumerGroup in group mode, Consumer by assignment, Offset for questions.
'use strict'

const { Consumer, ConsumerGroup, KafkaClient, Offset } = require('kafka-node')
const { promisify } = require('node:util')
const { Reading, serve, tlsOptions } = require('./scenario_loop.js')

const PARTITION = 0
const NO_TIMESTAMP = -1
const METADATA = 'm' // what the library's own commits carry

function clientOptions(given) {
  return {
    clientId: given.client_id,
    kafkaHost: given.bootstrap,
    sasl: { mechanism: 'plain', username: given.username, password: given.password },
    ...(given.security === 'SASL_SSL' && { ssl: true, sslOptions: tlsOptions(given) }),
  }
}

function fetchOptions(given) {
  return {
    groupId: given.group,
    autoCommit: false,
    encoding: 'buffer',
    keyEncoding: 'buffer',
    fetchMaxBytes: Number(given.partition_bytes ?? 1048576),
  }
}

/** Of a Consumer, which asks with Fetch 0 whatever the broker can, records have no timestamp; a ConsumerGroup asks with 2. */
function follow(consumer, reading) {
  consumer.on('message', ({ offset, timestamp, key, value }) =>
    reading.record(offset, timestamp?.getTime() ?? NO_TIMESTAMP, key, value)
  )
  consumer.on('error', reading.fail)
}

async function join(given) {
  const reading = new Reading(given)
  const consumer = new ConsumerGroup(
    {
      ...clientOptions(given),
      ...fetchOptions(given),
      id: given.client_id,
      sessionTimeout: Number(given.session_timeout_ms ?? 10000),
      fromOffset: 'earliest',
    },
    given.topic
  )
  follow(consumer, reading)
  try {
    await reading.complete
    if (given.metadata !== undefined) await commit(consumer, given, reading)
    return { consumer, values: { count: reading.seen } }
  } catch (error) {
    await close(consumer)
    throw error
  }
}

function commit(consumer, given, reading) {
  const position = { topic: given.topic, partition: PARTITION, offset: reading.next, metadata: METADATA }
  return promisify(consumer.sendOffsetCommitRequest).call(consumer, [position])
}

/** A close that is under way when the connection breaks does not call back. */
function close(closing) {
  return Promise.race([
    new Promise((resolve) => closing.close(resolve)),
    new Promise((resolve) => setTimeout(resolve, 2000)),
  ])
}

async function group(given) {
  const { consumer, values } = await join(given)
  await close(consumer)
  return values
}

/** As group, by a member that stays until the process ends. */
async function hold(given) {
  return (await join(given)).values
}

async function assign(given) {
  const client = new KafkaClient(clientOptions(given))
  const reading = new Reading(given)
  const from = { topic: given.topic, partition: PARTITION, offset: Number(given.offset) }
  const consumer = new Consumer(client, [from], { ...fetchOptions(given), fromOffset: true })
  follow(consumer, reading)
  try {
    await reading.complete
    return { count: reading.seen }
  } finally {
    await close(consumer)
  }
}

async function withClient(given, ask) {
  const client = new KafkaClient(clientOptions(given))
  try {
    return await new Promise((resolve, reject) => {
      client.on('error', reject)
      client.on('ready', () => ask(client).then(resolve, reject))
    })
  } finally {
    await close(client)
  }
}

function bounds(given) {
  return withClient(given, async (client) => {
    const offsets = new Offset(client)
    const ask = async (method) => (await promisify(method).call(offsets, [given.topic]))[given.topic][PARTITION]
    return { begin: await ask(offsets.fetchEarliestOffsets), end: await ask(offsets.fetchLatestOffsets) }
  })
}

function topics(given) {
  return withClient(given, async (client) => {
    const [, { metadata }] = await promisify(client.loadMetadataForTopics).call(client, [])
    return { topics: Object.keys(metadata) }
  })
}

serve({ group, hold, assign, bounds, topics })
