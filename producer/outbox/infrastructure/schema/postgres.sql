-- The outbox as Prisma makes it from the original model, so that a Prisma service can share the table.
DO $$ BEGIN
    CREATE TYPE "OutboxEventStatus" AS ENUM ('PENDING', 'PROCESSING', 'PUBLISHED', 'FAILED', 'DEAD_LETTER');
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
CREATE TABLE IF NOT EXISTS "outbox_event" (
    "id" TEXT NOT NULL,
    "aggregateId" TEXT NOT NULL,
    "aggregateType" TEXT NOT NULL,
    "eventType" TEXT NOT NULL,
    "eventData" JSONB NOT NULL,
    "eventVersion" INTEGER NOT NULL DEFAULT 1,
    "occurredAt" TIMESTAMP(3) NOT NULL,
    "processedAt" TIMESTAMP(3),
    "publishedAt" TIMESTAMP(3),
    "retryCount" INTEGER NOT NULL DEFAULT 0,
    "lastError" TEXT,
    "status" "OutboxEventStatus" NOT NULL DEFAULT 'PENDING',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "outbox_event_pkey" PRIMARY KEY ("id")
);
CREATE INDEX IF NOT EXISTS "outbox_event_status_createdAt_idx" ON "outbox_event"("status", "createdAt");
CREATE INDEX IF NOT EXISTS "outbox_event_aggregateId_aggregateType_idx" ON "outbox_event"("aggregateId", "aggregateType");

-- Who may publish: the holder of the one row, until "expiresAt" (milliseconds since the epoch, by this server's
-- clock). "epoch" grows with each change of holder; a write of an older epoch changes nothing.
-- "beat" grows with each renewal, so that others can see life without trusting clocks.
CREATE TABLE IF NOT EXISTS "outbox_lease" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "holder" TEXT NOT NULL,
    "epoch" BIGINT NOT NULL,
    "beat" BIGINT NOT NULL,
    "expiresAt" BIGINT NOT NULL
);

-- What the holder of the lease says of itself, and how many rows are PUBLISHED: for `tidings outbox stats`.
CREATE TABLE IF NOT EXISTS "outbox_state" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "phase" TEXT NOT NULL,
    "since" BIGINT NOT NULL,
    "trouble" TEXT NOT NULL,
    "inFlight" BIGINT NOT NULL,
    "writtenAt" BIGINT NOT NULL,
    "published" BIGINT NOT NULL
);
