#pragma once

// nats.c's handles behind a connection, for the parts of Tidings that speak to it. Users of the SDK see none.

#include <tidings/connection.hpp>

#include <nats/nats.h>

namespace tidings {

// Both belong to the connection and live as long as it does.
[[nodiscard]] natsConnection* native(const Connection& connection) noexcept;
[[nodiscard]] jsCtx* jetstream(const Connection& connection) noexcept;

}  // namespace tidings
