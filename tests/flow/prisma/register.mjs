// Registers users as the original service does: user and event in one interactive transaction of the Prisma
// client. Prints one JSON object for each: what the event must look like, and when its commit was asked for and
// confirmed, in milliseconds since the epoch.
//
// node register.mjs USERS PAUSE_MS, with DATABASE_URL

import { setTimeout as pause } from 'node:timers/promises';

import { PrismaPg } from '@prisma/adapter-pg';

import { PrismaClient } from './client/index.js';

const [users, pauseMs] = process.argv.slice(2).map(Number);
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
const now = () => performance.timeOrigin + performance.now();

async function register(n, dataOf) {
  const occurredAt = new Date();
  let row;
  let asked;
  await prisma.$transaction(async (tx) => {
    const user = await tx.user.create({
      data: { email: `user${n}@example.org`, name: `Zoë 李雷 ${n}`, createdAt: occurredAt },
    });
    row = await tx.outboxEvent.create({
      data: {
        aggregateId: user.id,
        aggregateType: 'User',
        eventType: 'user.created',
        eventData: dataOf({ userId: user.id, email: user.email, name: user.name }),
        occurredAt,
      },
    });
    asked = now();
  });
  const confirmed = now();
  const { id, aggregateId, eventData } = row;
  console.log(JSON.stringify({ id, aggregateId, occurredAt, eventData, asked, confirmed }));
}

async function registerNobody() {
  const refusal = new Error('refused');
  try {
    await register('-nobody', () => {
      throw refusal;
    });
  } catch (error) {
    if (error !== refusal) throw error;
  }
}

await register(0, (data) => data);
await registerNobody();
for (let n = 1; n < users; n++) {
  await pause(pauseMs);
  await register(n, (data) => ({ data, metadata: { source: 'nest-auth', correlationId: `request-${n}` } }));
}
await prisma.$disconnect();
