#include <tidings/postgres_error.hpp>

bool is_duplicate(const tidings::PostgresError& error) { return error.sqlstate() == "23505"; }
