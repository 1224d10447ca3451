// The scenarios of kafkajs, one source for its releases 1 and 2. A consumer of kafkajs always joins its group: what is
// read from a certain offset is read by a seek inside the group.
'use strict'

const { Kafka, logLevel } = require('kafkajs')
const { Reading, serve, tlsOptions } = require('./scenario_loop.js')

const PARTITION = 0

function connect(given) {
  return new Kafka({
    clientId: given.client_id,
    brokers: given.bootstrap.split(','),
    sasl: { mechanism: 'plain', username: given.username, password: given.password },
    ssl: tlsOptions(given),
    logLevel: logLevel.DEBUG,
    logCreator: () => (entry) => console.error(JSON.stringify({ namespace: entry.namespace, ...entry.log })),
  })
}

async function withAdmin(given, use) {
  const admin = connect(given).admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

/** Joins the group and reads; `from` is an offset to seek to, or undefined for the committed one. */
async function join(given, from) {
  const sessionTimeout = Number(given.session_timeout_ms ?? 10000)
  const heartbeatInterval = Math.floor(sessionTimeout / 10)
  const consumer = connect(given).consumer({
    groupId: given.group,
    sessionTimeout,
    heartbeatInterval,
    maxWaitTimeInMs: heartbeatInterval, // it sends no heartbeat while a fetch waits, which is five seconds by default
    maxBytesPerPartition: Number(given.partition_bytes ?? 1048576),
  })
  const reading = new Reading(given)
  consumer.on(consumer.events.CRASH, ({ payload }) => reading.fail(payload.error))
  try {
    await consumer.connect()
    await consumer.subscribe({ topic: given.topic, fromBeginning: true })
    const started = consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, isStale }) => {
        for (const message of batch.messages) {
          if (isStale()) break // of an offset that the seek below left behind
          reading.record(Number(message.offset), Number(message.timestamp), message.key, message.value)
        }
      },
    })
    started.catch(reading.fail)
    if (from !== undefined) consumer.seek({ topic: given.topic, partition: PARTITION, offset: String(from) })
    await reading.complete
    if (given.metadata !== undefined) await commit(consumer, given, reading)
    return { consumer, values: { count: reading.seen } }
  } catch (error) {
    await consumer.disconnect()
    throw error
  }
}

function commit(consumer, given, reading) {
  const position = { topic: given.topic, partition: PARTITION, offset: String(reading.next), metadata: given.metadata }
  return consumer.commitOffsets([position])
}

async function group(given, from) {
  const { consumer, values } = await join(given, from)
  await consumer.disconnect()
  return values
}

/** As group, by a member that stays until the process ends. */
async function hold(given) {
  return (await join(given)).values
}

const assign = (given) => group(given, given.offset)

async function assignTime(given) {
  const offset = await withAdmin(given, async (admin) => {
    const [found] = await admin.fetchTopicOffsetsByTimestamp(given.topic, Number(given.timestamp))
    const [{ high }] = await admin.fetchTopicOffsets(given.topic)
    return found.offset === high ? null : Number(found.offset) // it puts the log's end where nothing was found
  })
  if (offset !== null) await group(given, offset)
  return { offset }
}

function bounds(given) {
  return withAdmin(given, async (admin) => {
    const [{ low, high }] = await admin.fetchTopicOffsets(given.topic)
    return { begin: Number(low), end: Number(high) }
  })
}

function committed(given) {
  return withAdmin(given, async (admin) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: given.group, topics: [given.topic] })
    const { offset, metadata } = partitions.find(({ partition }) => partition === PARTITION)
    if (Number(offset) < 0) return { offset: null, metadata: null }
    return { offset: Number(offset), metadata: metadata ?? '' } // it shows empty metadata as null
  })
}

function topics(given) {
  return withAdmin(given, async (admin) => ({ topics: await admin.listTopics() }))
}

serve({ group: (given) => group(given), hold, assign, assign_time: assignTime, bounds, committed, topics })
