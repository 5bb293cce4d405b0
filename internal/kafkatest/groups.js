// Node's client: idempotent producers with gzip, a group whose members come and go, transactions that are aborted.
//
//     groups.js HOST:PORT
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const RECORDS = 4000
const PARTITIONS = 4
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const name = `node-${Date.now()}`
const [source, target] = [`${name}-in`, `${name}-out`]
const want = Array.from({ length: RECORDS }, (_, i) => `v${i}`)
const options = { sessionTimeout: 6000, heartbeatInterval: 300, rebalanceTimeout: 10000, maxWaitTimeInMs: 100 }

function same(what, seen) {
  if (seen.length !== RECORDS || new Set(seen).size !== RECORDS) {
    console.log(`DIFFERENT: ${what}: ${seen.length} records, ${new Set(seen).size} of them distinct, want ${RECORDS}`)
    process.exit(1)
  }
  console.log(`equal: ${what}`)
}

async function until(done) {
  const end = Date.now() + 40000
  while (!done()) {
    if (Date.now() > end) throw new Error('nothing comes any more')
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function produce() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let i = 0; i < RECORDS; i += 500) {
    const messages = want.slice(i, i + 500).map((value, j) => ({ key: `${j % 100}`, value, headers: { sent: value } }))
    await producer.send({ topic: source, acks: -1, compression: CompressionTypes.GZIP, messages })
  }
  await producer.disconnect()
}

// member reads in a group; what is not committed is of no account.
async function member(group, take) {
  const consumer = kafka.consumer({ groupId: group, ...options })
  await consumer.connect()
  await consumer.subscribe({ topics: [source], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat }) => {
      await take(consumer, batch)
      await heartbeat()
    },
  })
  return consumer
}

const next = batch => ({ topic: batch.topic, partition: batch.partition, offset: `${BigInt(batch.lastOffset()) + 1n}` })

async function group() {
  const seen = []
  const take = async (consumer, batch) => {
    await consumer.commitOffsets([next(batch)])
    seen.push(...batch.messages.filter(m => m.headers.sent.equals(m.value)).map(m => m.value.toString()))
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  const first = await member(name, take)
  await until(() => seen.length > 0)
  const second = await member(name, take)
  await first.disconnect()
  await until(() => seen.length >= RECORDS)
  await second.disconnect()
  return seen
}

async function transactions() {
  const producer = kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  let rounds = 0, done = 0
  const consumer = await member(`${name}-copy`, async (c, batch) => {
    const transaction = await producer.transaction()
    const messages = batch.messages.map(({ key, value }) => ({ key, value }))
    await transaction.send({ topic: target, acks: -1, messages })
    if (++rounds % 2 === 0) {
      await transaction.abort()
      throw new Error('again')
    }
    const { topic, ...at } = next(batch)
    await transaction.sendOffsets({ consumerGroupId: `${name}-copy`, topics: [{ topic, partitions: [at] }] })
    await transaction.commit()
    done += messages.length
  })
  await until(() => done >= RECORDS)
  await consumer.disconnect()
  await producer.disconnect()
  return rounds
}

async function read(topic) {
  const seen = []
  const consumer = kafka.consumer({ groupId: `${name}-check-${topic}`, ...options })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()) } })
  await until(() => seen.length >= RECORDS)
  await consumer.disconnect()
  return seen
}

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [source, target].map(topic => ({ topic, numPartitions: PARTITIONS })) })
  await produce()
  same('records of kafkajs in gzip', await read(source))
  same('a group of kafkajs with members that come and go', await group())
  same(`${await transactions()} transactions of kafkajs, every second aborted`, await read(target))
  await admin.deleteTopics({ topics: [source, target] })
  await admin.disconnect()
}

main().catch(e => { console.log(`DIFFERENT: ${e.stack}`); process.exit(1) })
