// A steady decode step allocates nothing: counted, by replacing this program's operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/engine.h"
#include "support/tiny_model.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const auto unit = static_cast<size_t>(alignment);
  if (void* memory = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace octet {
namespace {

TEST(Engine, AllocatesNothingInASteadyDecodeStep) {
  const auto model = testing::TinyModel();
  const testing::LetterTokenizer tokenizer;
  EngineOptions options;
  options.threads = 2;
  options.max_sequences = 4;
  options.page_tokens = 256;  // a step that takes a new page may allocate its table
  auto engine = Engine::Create(*model, tokenizer, options);
  ASSERT_TRUE(engine) << engine.error().message;
  for (int i = 0; i < 4; ++i) {
    Request request;
    request.prompt = {1, 4 + i, 5, 6};
    request.max_tokens = 60;
    request.sampling.ignore_eos = true;
    request.sampling.repeat_penalty = 1.1f;
    request.sampling.dry_multiplier = 0.5f;
    request.sampling.dry_sequence_breakers = {" "};
    ASSERT_TRUE((*engine)->Submit(std::move(request)));
  }
  for (int step = 0; step < 20; ++step) (*engine)->Step();
  const int64_t before = allocations;
  for (int step = 0; step < 10; ++step) ASSERT_EQ((*engine)->Step().size(), 4u);
  EXPECT_EQ(allocations - before, 0);
}

}  // namespace
}  // namespace octet
