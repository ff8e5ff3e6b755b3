#include "twotower/retrieval/screen_tile.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/cpu.hpp"
#include "twotower/base/random.hpp"
#include "twotower/retrieval/packed_items.hpp"

using namespace twotower;
using namespace twotower::retrieval;

namespace {

/// Words of four codes each in [low, high].
AlignedFloats random_words(Index words, int low, int high, std::uint64_t number) {
  RandomStream random(number, Purpose::kTest);
  AlignedFloats out = aligned_floats(words);
  auto* codes = reinterpret_cast<std::uint8_t*>(out.get());
  for (Index i = 0; i < words * kWordCodes; ++i) codes[i] = static_cast<std::uint8_t>(low + random.below(high - low + 1));
  return out;
}

const std::int32_t* words_of(const AlignedFloats& values) { return reinterpret_cast<const std::int32_t*>(values.get()); }

}  // namespace

TEST_CASE("screen_tile: the sign of every sum, for any number of queries and words") {
  const Index words = GENERATE(0, 1, 2, 5, 16, 33), count = GENERATE(1, 2, 3, 7, 8);
  const AlignedFloats panel = random_words(words * kScreenWidth, 0, 255, 1),
                      queries = random_words(words * kScreenTile, -127, 127, 2);
  const auto* items = reinterpret_cast<const std::uint8_t*>(panel.get());
  const auto* codes = reinterpret_cast<const std::int8_t*>(queries.get());
  // About a query's middle sum, so that both signs come up; a sum of exactly 0; nothing at all.
  for (const Index kind : {0, 1, 2}) {
    std::vector<std::int32_t> starts;
    std::vector<std::uint64_t> expected, masks(kScreenTile, 99), portable(kScreenTile, 99);
    bool any = false;
    for (Index q = 0; q < count; ++q) {
      std::vector<std::int32_t> sums;
      for (Index i = 0; i < kScreenWidth; ++i) {
        std::int32_t sum = 0;
        for (Index w = 0; w < words; ++w)
          for (Index c = 0; c < kWordCodes; ++c)
            sum += items[(w * kScreenWidth + i) * kWordCodes + c] * codes[(w * kScreenTile + q) * kWordCodes + c];
        sums.push_back(sum);
      }
      const std::int32_t largest = *std::max_element(sums.begin(), sums.end());
      starts.push_back(kind == 0 ? -sums[5] : kind == 1 ? -largest : -largest - 1);
      expected.push_back(0);
      for (std::size_t i = 0; i < sums.size(); ++i) expected.back() |= std::uint64_t{sums[i] + starts.back() >= 0} << i;
      any |= expected.back() != 0;
    }
    CAPTURE(words, count, kind);
    CHECK(screen_tile(count)(words_of(panel), words_of(queries), words, starts.data(), masks.data()) == any);
    CHECK(portable_screen_tile(count)(words_of(panel), words_of(queries), words, starts.data(), portable.data()) == any);
    CHECK(any == (kind != 2));
    if (!any) continue;
    masks.resize(static_cast<std::size_t>(count));
    portable.resize(static_cast<std::size_t>(count));
    CHECK(masks == expected);
    CHECK(portable == expected);
  }
}

TEST_CASE("screen_tile: the widest vectors of the largest codes stay within 32 bits") {
  const Index words = kScreenMaxWidth / kWordCodes;
  const int code = GENERATE(-127, 127);
  const AlignedFloats panel = random_words(words * kScreenWidth, 255, 255, 3),
                      queries = random_words(words * kScreenTile, code, code, 4);
  const std::int32_t sum = 255 * code * static_cast<std::int32_t>(kScreenMaxWidth);
  for (const bool above : {false, true}) {
    const std::vector<std::int32_t> starts(kScreenTile, -sum - (above ? 0 : 1));
    std::vector<std::uint64_t> masks(kScreenTile);
    CHECK(screen_tile(kScreenTile)(words_of(panel), words_of(queries), words, starts.data(), masks.data()) == above);
  }
}

TEST_CASE("has_screen: only where the module and the CPU have the instruction") {
  if (compiled_level() < 4) CHECK_FALSE(has_screen());
  if (has_screen()) CHECK(cpu_has_vnni());
}
