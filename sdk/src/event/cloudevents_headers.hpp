#pragma once

// CloudEvents in binary mode: attributes in headers, the data as payload.

#include <tidings/event.hpp>

#include <string_view>

namespace tidings {

void encode_headers(const Event& event, Headers& headers);
void decode_headers(const Headers& headers, std::string_view subject_type, Event& event);

}  // namespace tidings
