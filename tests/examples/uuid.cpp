#include <tidings/uuid.hpp>

std::string order_id() { return tidings::new_uuid(); }  // 018f…: later ones sort behind it
