-- CreateEnum
CREATE TYPE "OutboxEventStatus" AS ENUM ('PENDING', 'PROCESSING', 'PUBLISHED', 'FAILED', 'DEAD_LETTER');

-- CreateTable
CREATE TABLE "outbox_event" (
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

-- CreateTable
CREATE TABLE "outbox_lease" (
    "name" TEXT NOT NULL,
    "holder" TEXT NOT NULL,
    "epoch" BIGINT NOT NULL,
    "beat" BIGINT NOT NULL,
    "expiresAt" BIGINT NOT NULL,

    CONSTRAINT "outbox_lease_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "outbox_state" (
    "name" TEXT NOT NULL,
    "phase" TEXT NOT NULL,
    "since" BIGINT NOT NULL,
    "trouble" TEXT NOT NULL,
    "inFlight" BIGINT NOT NULL,
    "writtenAt" BIGINT NOT NULL,
    "published" BIGINT NOT NULL,

    CONSTRAINT "outbox_state_pkey" PRIMARY KEY ("name")
);

-- CreateIndex
CREATE INDEX "outbox_event_status_createdAt_idx" ON "outbox_event"("status", "createdAt");

-- CreateIndex
CREATE INDEX "outbox_event_aggregateId_aggregateType_idx" ON "outbox_event"("aggregateId", "aggregateType");
