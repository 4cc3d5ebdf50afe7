// The example programs of the guide, as built.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

namespace {

struct Output {
  std::string text;
  int code = -1;
};

Output RunProgram(const std::string& command) {
  Output output;
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe)) output.text.append(buffer, n);
  output.code = pclose(pipe);
  return output;
}

TEST(Examples, InCAndCppTellTheSameStory) {
  const std::string folder = OCTET_EXAMPLES_DIR;
  const Output c = RunProgram(folder + "/example_c 'Once upon a time'");
  const Output cpp = RunProgram(folder + "/example_cpp 'Once upon a time'");
  EXPECT_EQ(c.code, 0);
  EXPECT_EQ(cpp.code, 0);
  EXPECT_EQ(c.text.rfind("Once upon a time, there was a little girl named Lily.", 0), 0u) << c.text;
  EXPECT_EQ(c.text, cpp.text);
  EXPECT_NE(RunProgram(folder + "/example_c x /nowhere").code, 0);
  EXPECT_NE(RunProgram(folder + "/example_cpp x /nowhere").code, 0);
}

}  // namespace
