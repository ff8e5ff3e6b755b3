#include "twotower/base/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"

using twotower::Purpose;
using twotower::RandomStream;

namespace {

RandomStream stream(std::uint64_t row = 0) { return {42, Purpose::kTest, 0, row}; }

std::vector<std::uint64_t> first_three(RandomStream random) { return {random.next(), random.next(), random.next()}; }

/// Pearson's statistic of counts that should be equal; its mean is cells - 1, its deviation sqrt(2 (cells - 1)).
double chi_square(const std::vector<int>& counts) {
  const double wanted = std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
  double sum = 0;
  for (const int count : counts) sum += (count - wanted) * (count - wanted) / wanted;
  return sum;
}

/// Five deviations above the mean; seeds are fixed, so this passes always or never.
double chi_square_limit(std::size_t cells) {
  const auto freedom = static_cast<double>(cells - 1);
  return freedom + 5 * std::sqrt(2 * freedom) + 5;
}

}  // namespace

TEST_CASE("RandomStream: numbers are pinned, models of earlier versions depend on them") {
  // Recomputed in Python from the definition: state = mix(mix(mix(mix(seed + step) ^ purpose) ^ epoch) ^ row), then SplitMix64.
  CHECK(first_three({0, Purpose::kTest}) ==
        std::vector<std::uint64_t>{0xc1703efc349452a8, 0x1d84436a5b04bcc8, 0x60e32430f7aa7856});
  CHECK(first_three({42, Purpose::kOrder, 5, 17}) ==
        std::vector<std::uint64_t>{0x5ff134137b873466, 0x52f314251df3382c, 0x831ffbea266c561f});
  CHECK(first_three({std::numeric_limits<std::uint64_t>::max(), Purpose::kGroup}) ==
        std::vector<std::uint64_t>{0xdc6ba03f9f18cebd, 0x3f96ea72d75946d4, 0x57f3ed5a540aecfc});
}

TEST_CASE("RandomStream: uniform, below, normal and shuffle are pinned too") {
  RandomStream random = stream();
  CHECK(random.uniform() == 0.7123357698452168);
  CHECK(random.uniform() == 0.3969461956373975);
  random = stream();
  std::vector<std::int64_t> digits(12);
  for (auto& digit : digits) digit = random.below(10);
  CHECK(digits == std::vector<std::int64_t>{7, 3, 2, 1, 1, 1, 8, 6, 9, 8, 6, 2});
  random = stream();
  for (const double wanted : {-1.259062505409907, 0.5288943019376215, 0.27620702594029545})
    CHECK(random.normal() == Approx(wanted).epsilon(1e-14));  // log and cos may differ in the last bit between libraries
  std::vector<int> values{0, 1, 2, 3, 4, 5, 6, 7};
  stream().shuffle(std::span(values));
  CHECK(values == std::vector<int>{6, 7, 3, 4, 0, 1, 2, 5});
}

TEST_CASE("RandomStream: depends on its key alone, not on who draws in between") {
  std::vector<std::vector<std::uint64_t>> one_by_one, interleaved(5);
  std::vector<RandomStream> streams;
  for (std::uint64_t row = 0; row < 5; ++row) {
    one_by_one.push_back(first_three(stream(row)));
    streams.push_back(stream(row));
  }
  for (int draw = 0; draw < 3; ++draw)
    for (std::size_t row = 5; row-- > 0;) interleaved[row].push_back(streams[row].next());
  CHECK(interleaved == one_by_one);
}

TEST_CASE("RandomStream: each part of the key gives another stream") {
  std::vector<std::uint64_t> firsts;
  for (const std::uint64_t seed : {0, 1, 2})
    for (const Purpose purpose : {Purpose::kInitialize, Purpose::kGroup, Purpose::kTest})
      for (const std::uint64_t epoch : {0, 1, 2})
        for (const std::uint64_t row : {0, 1, 2}) firsts.push_back(RandomStream(seed, purpose, epoch, row).next());
  std::sort(firsts.begin(), firsts.end());
  CHECK(std::adjacent_find(firsts.begin(), firsts.end()) == firsts.end());
}

TEST_CASE("RandomStream: uniform lies in [0, 1) and is even, within a stream and across first draws") {
  std::vector<int> within(64), across(64);
  RandomStream random = stream();
  for (std::uint64_t draw = 0; draw < 64000; ++draw) {
    const double value = random.uniform(), first = stream(draw).uniform();
    REQUIRE((value >= 0 && value < 1 && first >= 0 && first < 1));
    ++within[static_cast<std::size_t>(value * 64)];
    ++across[static_cast<std::size_t>(first * 64)];
  }
  CHECK(chi_square(within) < chi_square_limit(64));
  CHECK(chi_square(across) < chi_square_limit(64));
}

TEST_CASE("RandomStream: below keeps its bounds and is even") {
  const std::int64_t bound = GENERATE(1, 2, 3, 7, 64, 101);
  std::vector<int> counts(static_cast<std::size_t>(bound));
  RandomStream random = stream();
  for (int draw = 0; draw < 500 * bound; ++draw) {
    const std::int64_t value = random.below(bound);
    REQUIRE((value >= 0 && value < bound));
    ++counts[static_cast<std::size_t>(value)];
  }
  CHECK(*std::min_element(counts.begin(), counts.end()) > 0);
  if (bound > 1) CHECK(chi_square(counts) < chi_square_limit(counts.size()));
}

TEST_CASE("RandomStream: below the largest bound reaches far and stays inside") {
  constexpr std::int64_t kBound = std::int64_t{1} << 32;
  RandomStream random = stream();
  std::int64_t largest = 0;
  for (int draw = 0; draw < 1000; ++draw) {
    const std::int64_t value = random.below(kBound);
    REQUIRE((value >= 0 && value < kBound));
    largest = std::max(largest, value);
  }
  CHECK(largest > kBound / 100 * 99);
}

TEST_CASE("RandomStream: normal has the moments of a standard normal") {
  constexpr int kDraws = 200000;
  RandomStream random = stream();
  std::array<double, 5> moments{};
  for (int draw = 0; draw < kDraws; ++draw) {
    const double value = random.normal();
    for (int power = 1; power <= 4; ++power) moments[static_cast<std::size_t>(power)] += std::pow(value, power) / kDraws;
  }
  // Variances of x, x^2, x^3, x^4 are 1, 2, 15, 96; five standard errors each.
  const double error = 5 / std::sqrt(kDraws);
  CHECK(std::abs(moments[1]) < error);
  CHECK(std::abs(moments[2] - 1) < error * std::sqrt(2));
  CHECK(std::abs(moments[3]) < error * std::sqrt(15));
  CHECK(std::abs(moments[4] - 3) < error * std::sqrt(96));
}

TEST_CASE("RandomStream: normal takes two draws each time") {
  RandomStream random = stream(), other = stream();
  random.normal();
  other.next();
  other.next();
  CHECK(random.next() == other.next());
}

TEST_CASE("RandomStream: shuffle is a permutation, for every size") {
  const std::size_t size = GENERATE(0, 1, 2, 3, 7, 64, 101);
  std::vector<int> values(size), sorted(size);
  std::iota(values.begin(), values.end(), 0);
  sorted = values;
  stream().shuffle(std::span(values));
  if (size > 3) CHECK(values != sorted);
  std::sort(values.begin(), values.end());
  CHECK(values == sorted);
}

TEST_CASE("RandomStream: a long list is shuffled as a short one, and draws no number more") {
  const std::size_t size = GENERATE(31, 32, 33, 34, 64, 65, 1000);
  std::vector<int> values(size), wanted(size);
  std::iota(values.begin(), values.end(), 0);
  wanted = values;
  RandomStream random = stream(), plain = stream();
  random.shuffle(std::span(values));
  for (std::size_t left = size; left > 1; --left)
    std::swap(wanted[left - 1], wanted[static_cast<std::size_t>(plain.below(static_cast<std::int64_t>(left)))]);
  CHECK(values == wanted);
  CHECK(random.next() == plain.next());
}

TEST_CASE("RandomStream: shuffle gives each of the 24 orders of four equally often") {
  std::vector<int> counts(24);
  for (std::uint64_t row = 0; row < 12000; ++row) {
    std::array<int, 4> values{0, 1, 2, 3};
    stream(row).shuffle(std::span<int>(values));
    std::size_t rank = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto smaller_after =
          std::count_if(values.begin() + static_cast<std::ptrdiff_t>(i), values.end(), [&](int v) { return v < values[i]; });
      rank = rank * (4 - i) + static_cast<std::size_t>(smaller_after);
    }
    ++counts[rank];
  }
  CHECK(chi_square(counts) < chi_square_limit(24));
}
