#include "service/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace octet {
namespace {

Status Failed(sqlite3* database) {
  const int code = sqlite3_errcode(database) & 0xff;
  const char* path = sqlite3_db_filename(database, "main");
  const bool corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  return Err(corrupt ? ErrorCode::kCorrupt : ErrorCode::kIo, "{}: {}", path ? path : "database",
             sqlite3_errmsg(database));
}

/// SQLite would make it readable for all; its companions (-wal, -shm) take the file's mode.
Status CreateFile(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    return Err(ErrorCode::kIo, "cannot create {}: {}", path.string(), std::strerror(errno));
  }
  close(file);
  return {};
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<bool> Statement::Step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return tl::unexpected(Failed(sqlite3_db_handle(statement_.get())).error());
  }
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::Text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return bytes == nullptr ? std::string()
                          : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

// A failed binding (out of memory, wrong index) leaves null, which the schema refuses.
void Statement::Bind(int index, int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
}

void Statement::Bind(int index, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), index, text.data(), text.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
}

void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Result<Database> Database::Open(const std::filesystem::path& path, bool create) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    if (!create) return Err(ErrorCode::kNotFound, "there is no accounts file {}", path.string());
    OCTET_TRY(CreateFile(path));
  }
  Database database;
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, nullptr);
  database.database_.reset(opened);
  if (code != SQLITE_OK) {
    return Err(ErrorCode::kIo, "cannot open {}: {}", path.string(), sqlite3_errstr(code));
  }
  constexpr int kPatienceMs = 10'000;  // while another program writes
  sqlite3_busy_timeout(opened, kPatienceMs);
  OCTET_TRY(database.Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"));
  return database;
}

Status Database::Execute(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return Failed(database_.get());
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &statement,
                         nullptr) != SQLITE_OK) {
    return tl::unexpected(Failed(database_.get()).error());
  }
  return Statement(statement);
}

int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(database_.get()); }

Result<Transaction> Transaction::Begin(Database& database) {
  OCTET_TRY(database.Execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) static_cast<void>(database_->Execute("ROLLBACK").has_value());
}

Status Transaction::Commit() {
  OCTET_TRY(database_->Execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace octet
