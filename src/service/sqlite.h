// SQLite with results instead of codes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace octet {

/// A prepared statement; must not outlive its database.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  /// Values of the parameters, from the first; then to the first row. Text and blobs are copied.
  template <class... Values>
  Result<bool> Start(const Values&... values) {
    Reset();
    int index = 0;
    (Bind(++index, values), ...);
    return Step();
  }
  /// The same for statements that have no rows, or whose rows do not matter.
  template <class... Values>
  Status Run(const Values&... values) {
    auto more = Start(values...);
    Reset();
    if (!more) return tl::unexpected(std::move(more).error());
    return {};
  }
  /// Whether there is a (further) row.
  Result<bool> Step();
  void Reset();

  int64_t Integer(int column) const;
  std::string Text(int column) const;  // of text or blob; empty for null

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  void Bind(int index, int64_t value);
  void Bind(int index, std::string_view text);
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Database {
 public:
  /// Opens in WAL mode: readers and one writer do not wait for each other, and a commit is on disk
  /// when it returns. A new file is for its owner alone.
  static Result<Database> Open(const std::filesystem::path& path, bool create);

  Status Execute(const char* sql);
  Result<Statement> Prepare(std::string_view sql);
  int64_t last_row_id() const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
};

/// Undone unless committed.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace octet
