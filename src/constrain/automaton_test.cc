#include "constrain/automaton.h"

#include <gtest/gtest.h>

#include "constrain/constrain_testing.h"
#include "constrain/constraint.h"
#include "constrain/gbnf.h"

namespace octet {
namespace {

using testing::Accepts;
using testing::WordTokenizer;

/// Small random grammars: recursion only behind a character.
Grammar RandomGrammar(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  GrammarBuilder builder;
  constexpr size_t kRules = 3;
  for (size_t r = 0; r < kRules; ++r) builder.DeclareRule(fmt::format("r{}", r));
  const std::vector<std::string> literals = {"a", "b", "ab", "ca", "\u00e9", "\u20AC", "", "{\""};
  std::function<ExprId(int, bool)> make = [&](int depth, bool may_recur) -> ExprId {
    switch (depth == 0 ? pick(3) : pick(7)) {
      case 0:
        return builder.Literal(literals[pick(literals.size())]);
      case 1:
        return builder.Class({{'a', 'c'}, {0xE0, 0x20AC}});
      case 2:
        return may_recur ? builder.Rule(static_cast<int32_t>(pick(kRules)))
                         : builder.Class(Complement({{'b', 0xFFFF}}));
      case 3:
      case 4: {
        // What comes after a character may call any rule.
        std::vector<ExprId> parts = {builder.Class({{'a', 'b'}})};
        for (size_t i = pick(3) + 1; i-- > 0;) parts.push_back(make(depth - 1, true));
        return builder.Sequence(parts);
      }
      case 5: {
        std::vector<ExprId> ways;
        for (size_t i = pick(3) + 1; i-- > 0;) ways.push_back(make(depth - 1, may_recur));
        return builder.Alternatives(ways);
      }
      default: {
        const auto min = static_cast<int32_t>(pick(3));
        const int32_t max = pick(2) == 0 ? -1 : min + static_cast<int32_t>(pick(3));
        return builder.Repeat(make(depth - 1, may_recur), min, max);
      }
    }
  };
  for (size_t r = 0; r < kRules; ++r) {
    builder.DefineRule(static_cast<int32_t>(r),
                       builder.Alternatives({make(3, false), builder.Literal("a")}));
  }
  return *builder.Finish(0);
}

std::string Mutated(std::string text, std::mt19937_64& random) {
  const auto pick = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  const std::vector<std::string> bits = {"a", "b", "c", "\u00e9", "\u20AC", "{", "\xC3", "\""};
  const size_t at = pick(text.size() + 1);
  if (pick(2) == 0 && at < text.size()) text.erase(at, 1 + pick(3));
  return pick(2) == 0 ? text.insert(std::min(at, text.size()), bits[pick(bits.size())]) : text;
}

TEST(Automaton, AgreesWithTheSlowMatcherOnRandomGrammars) {
  const WordTokenizer tokenizer(testing::JsonWords());
  const TokenTrie trie(tokenizer);
  int derived = 0, accepted_mutants = 0, rejected_mutants = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const Grammar grammar = RandomGrammar(seed);
    auto program = CompileGrammar(grammar);
    ASSERT_TRUE(program) << program.error().message;
    Automaton automaton(*std::move(program), trie);
    testing::Deriver deriver(grammar, seed);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 20; ++i) {
      const auto [text, whole] = deriver.Derive();
      if (!whole || text.size() > 60) continue;
      ++derived;
      EXPECT_TRUE(Accepts(automaton, text)) << "seed " << seed << ": " << text;
      const std::string mutant = Mutated(text, random);
      const bool expected = testing::SlowMatcher(grammar, mutant).Matches();
      EXPECT_EQ(Accepts(automaton, mutant), expected) << "seed " << seed << ": " << mutant;
      ++(expected ? accepted_mutants : rejected_mutants);
    }
  }
  EXPECT_GT(derived, 1000);
  EXPECT_GT(accepted_mutants, 100);
  EXPECT_GT(rejected_mutants, 100);
}

bool Has(std::span<const uint64_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

/// The mask is what asking about every token by itself gives, for any budget; and whoever follows
/// it ends within the budget, however badly it chooses.
TEST(Automaton, AllowsExactlyTheTokensThatLeaveAWayToTheEnd) {
  const WordTokenizer tokenizer(testing::JsonWords());
  const TokenTrie trie(tokenizer);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Automaton automaton(*CompileGrammar(RandomGrammar(seed)), trie);
    std::mt19937_64 random(seed);
    for (int run = 0; run < 5; ++run) {
      int64_t left = automaton.cost(automaton.start()) + static_cast<int64_t>(random() % 20);
      int32_t state = automaton.start();
      for (; left > 0 && !automaton.finished(state); --left) {
        const bool at_start = run % 2 == 0 && state == automaton.start();
        const auto mask = automaton.Allowed(state, left - 1, at_start);
        const std::vector<uint64_t> copy(mask.begin(), mask.end());
        std::vector<int32_t> allowed;
        for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
          const std::string_view bytes = trie.Bytes(id, at_start);
          const int32_t to = automaton.Walk(state, bytes);
          const bool fits = !bytes.empty() && to != Automaton::kDead && automaton.cost(to) < left;
          ASSERT_EQ(Has(copy, id), fits) << "seed " << seed << " token " << id;
          if (fits) allowed.push_back(id);
        }
        if (allowed.empty()) {
          ASSERT_TRUE(automaton.accepting(state)) << "seed " << seed;
          break;
        }
        state = automaton.Walk(state, trie.Bytes(allowed[random() % allowed.size()], at_start));
      }
      EXPECT_TRUE(automaton.accepting(state)) << "seed " << seed;
    }
  }
}

TEST(Automaton, TakesTokensThatEndInsideACharacter) {
  const WordTokenizer tokenizer({"\xE2\x82", "\xAC", "x\xC3"});
  const TokenTrie trie(tokenizer);
  Automaton automaton(*CompileGrammar(*ParseGbnf("root ::= [\u20AC] | \"x\u00e9\"")), trie);
  const int32_t first = 3 + 256;
  EXPECT_TRUE(Has(automaton.Allowed(automaton.start(), 9, false), first));
  EXPECT_FALSE(Has(automaton.Allowed(automaton.start(), 9, false), first + 1));
  const int32_t inside = automaton.Walk(automaton.start(), "\xE2\x82");
  EXPECT_TRUE(Has(automaton.Allowed(inside, 9, false), first + 1));
  EXPECT_FALSE(automaton.accepting(inside));
  EXPECT_TRUE(Has(automaton.Allowed(automaton.start(), 9, false), first + 2));
}

TEST(Automaton, CountsLiteralsInTokens) {
  const std::string grammar = R"(root ::= "{\"name\":" [0-9])";
  const auto cost = [&](std::vector<std::string> words) {
    const WordTokenizer tokenizer(words);
    const TokenTrie trie(tokenizer);
    Automaton automaton(*CompileGrammar(*ParseGbnf(grammar)), trie);
    return automaton.cost(automaton.start());
  };
  EXPECT_EQ(cost({}), 9);
  EXPECT_EQ(cost({"{\"", "name", "\":"}), 4);
  EXPECT_EQ(cost({"{\"name\":", "na"}), 2);
}

TEST(Automaton, KeepsAmbiguousGrammarsInBounds) {
  const WordTokenizer tokenizer(testing::JsonWords());
  const TokenTrie trie(tokenizer);
  for (const char* text : {R"(root ::= "a" root "b"? root "c"? | "a")",
                           R"(root ::= ("a" | "a" root "b"? | "a" root "c"? | "ab"?)*)",
                           R"(root ::= "a" x root y | "a" y root x | "b"
x ::= "a"? y?
y ::= "b"? "a"?)"}) {
    auto program = CompileGrammar(*ParseGbnf(text));
    if (!program) continue;
    Automaton automaton(*std::move(program), trie);
    int32_t state = automaton.start();
    for (int i = 0; i < 60 && state != Automaton::kDead; ++i) {
      automaton.Allowed(state, 1000, false);
      state = automaton.Step(state, 'a');
    }
    ASSERT_NE(state, Automaton::kDead) << text;
    EXPECT_LT(automaton.cost(state), 1000) << text;
  }
}

TEST(ConstraintState, FindsItsPlaceAgainAfterStatesWereForgotten) {
  const WordTokenizer tokenizer(testing::JsonWords());
  const TokenTrie trie(tokenizer);
  // Every depth is a state of its own: enough of them for several flushes.
  auto program = CompileGrammar(*ParseGbnf(R"gbnf(root ::= "(" root ")" root | "x")gbnf"));
  auto automaton = std::make_shared<Automaton>(*std::move(program), trie);
  ConstraintState constraint(automaton, trie, 1, false);
  const int32_t open = 3 + '(', close = 3 + ')', x = 3 + 'x';
  constexpr int kDeep = 20'000;
  for (int i = 0; i < kDeep; ++i) {
    ASSERT_TRUE(Has(constraint.Allowed(1'000'000, {}), open));
    constraint.Advance(open);
  }
  EXPECT_GT(automaton->epoch(), 0);
  ASSERT_TRUE(Has(constraint.Allowed(1'000'000, {}), x));
  constraint.Advance(x);
  ASSERT_TRUE(Has(constraint.Allowed(1'000'000, {}), close));
  EXPECT_FALSE(Has(constraint.Allowed(1'000'000, {}), open));
}

TEST(ConstraintState, DropsTheFirstSpaceAsTheAnswersTextDoes) {
  const WordTokenizer tokenizer({" {", " ", "{"});
  ConstraintCompiler compiler(tokenizer);
  const Constraint json{Constraint::Kind::kJson, {}};
  const int32_t space_brace = 3 + 256, space = space_brace + 1;
  auto at_start = compiler.Start(json, true);
  ASSERT_TRUE(at_start) << at_start.error().message;
  EXPECT_TRUE(Has((*at_start)->Allowed(100, {}), space_brace));
  EXPECT_FALSE(Has((*at_start)->Allowed(100, {}), space));  // it would add nothing
  (*at_start)->Advance(space_brace);
  EXPECT_TRUE(Has((*at_start)->Allowed(100, {}), space));
  auto going_on = compiler.Start(json, false);
  EXPECT_FALSE(Has((*going_on)->Allowed(100, {}), space_brace));
}

TEST(ConstraintState, AllowsEndsWhereTheAnswerMayEnd) {
  const WordTokenizer tokenizer({});
  ConstraintCompiler compiler(tokenizer);
  const std::vector<int32_t> ends = {2};
  auto state = compiler.Start({Constraint::Kind::kGrammar, "root ::= \"a\" \"b\"?"}, false);
  ASSERT_TRUE(state);
  EXPECT_FALSE(Has((*state)->Allowed(9, ends), 2));
  (*state)->Advance(3 + 'a');
  EXPECT_TRUE(Has((*state)->Allowed(9, ends), 2));
  EXPECT_TRUE(Has((*state)->Allowed(9, ends), 3 + 'b'));
  (*state)->Advance(3 + 'b');
  EXPECT_TRUE((*state)->finished());
}

}  // namespace
}  // namespace octet
