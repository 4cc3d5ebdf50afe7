#include "base/folder_lock.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>

#include "support/temp_folder.h"

namespace octet::testing {
namespace {

TEST(FolderLock, IsHeldByOneAtATime) {
  const TempFolder folder;
  const auto path = folder.path() / "a/b";
  std::optional<Result<FolderLock>> first(FolderLock::Take(path));
  ASSERT_TRUE(*first);
  const auto second = FolderLock::Take(path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(second.error().message.find("another process"), std::string::npos);
  first.reset();
  EXPECT_TRUE(FolderLock::Take(path));
}

TEST(FolderLock, SaysWhichFolderCannotBeMade) {
  const TempFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  const auto lock = FolderLock::Take(folder.path() / "file/run");
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, ErrorCode::kIo);
  EXPECT_NE(lock.error().message.find("file/run"), std::string::npos) << lock.error().message;
}

}  // namespace
}  // namespace octet::testing
