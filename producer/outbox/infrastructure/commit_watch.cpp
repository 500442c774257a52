#include "infrastructure/commit_watch.hpp"

#include "infrastructure/sqlite/file_commit_watch.hpp"
#ifdef TIDINGS_POSTGRES
#include "infrastructure/postgres/postgres_commit_watch.hpp"
#endif

#include <tidings/settings.hpp>

namespace tidings {

std::unique_ptr<CommitWatch> CommitWatch::open(const std::string& url) {
  const auto place = DatabaseUrl::parse(url);
#ifdef TIDINGS_POSTGRES
  if (place.kind == DatabaseUrl::Kind::postgresql)
    return std::make_unique<PostgresCommitWatch>(place.location);
#endif
  return std::make_unique<FileCommitWatch>(place.location);
}

}  // namespace tidings
