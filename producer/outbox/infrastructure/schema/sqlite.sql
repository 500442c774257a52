-- The outbox as Prisma makes it from the original model, so that a Prisma service can share the table.
CREATE TABLE IF NOT EXISTS "outbox_event" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "aggregateId" TEXT NOT NULL,
    "aggregateType" TEXT NOT NULL,
    "eventType" TEXT NOT NULL,
    "eventData" JSONB NOT NULL,
    "eventVersion" INTEGER NOT NULL DEFAULT 1,
    "occurredAt" DATETIME NOT NULL,
    "processedAt" DATETIME,
    "publishedAt" DATETIME,
    "retryCount" INTEGER NOT NULL DEFAULT 0,
    "lastError" TEXT,
    "status" TEXT NOT NULL DEFAULT 'PENDING',
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" DATETIME NOT NULL
);
CREATE INDEX IF NOT EXISTS "outbox_event_status_createdAt_idx" ON "outbox_event"("status", "createdAt");
CREATE INDEX IF NOT EXISTS "outbox_event_aggregateId_aggregateType_idx" ON "outbox_event"("aggregateId", "aggregateType");

-- Who may publish: the holder of the one row, until "expiresAt" (milliseconds since the epoch).
-- "epoch" grows with each change of holder; a write of an older epoch changes nothing.
-- "beat" grows with each renewal, so that others can see life without trusting clocks.
CREATE TABLE IF NOT EXISTS "outbox_lease" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "holder" TEXT NOT NULL,
    "epoch" INTEGER NOT NULL,
    "beat" INTEGER NOT NULL,
    "expiresAt" INTEGER NOT NULL
);

-- What the holder of the lease says of itself, and how many rows are PUBLISHED: for `tidings outbox stats`.
CREATE TABLE IF NOT EXISTS "outbox_state" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "phase" TEXT NOT NULL,
    "since" INTEGER NOT NULL,
    "trouble" TEXT NOT NULL,
    "inFlight" INTEGER NOT NULL,
    "writtenAt" INTEGER NOT NULL,
    "published" INTEGER NOT NULL
);
