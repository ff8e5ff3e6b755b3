#include "twotower/base/parallel.hpp"

#include <atomic>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/check.hpp"

using twotower::FlushDenormals;
using twotower::Index;
using twotower::Threads;
using twotower::tree_sum;

namespace {

/// The smallest normal number divided by 2: 0 while denormals are flushed. Volatile, so that the compiler cannot know.
bool flushes_denormals() {
  volatile float smallest = std::numeric_limits<float>::min();
  volatile float half = smallest * 0.5F;
  return half == 0;
}

/// How often each of [0, count) was met, and in which block.
struct Visits {
  std::vector<std::atomic<int>> times;
  std::vector<std::atomic<Index>> block;

  explicit Visits(Index count) : times(static_cast<std::size_t>(count)), block(static_cast<std::size_t>(count)) {}

  void note(Index begin, Index end, Index number) {
    for (Index k = begin; k < end; ++k) {
      ++times[static_cast<std::size_t>(k)];
      block[static_cast<std::size_t>(k)] = number;
    }
  }
};

}  // namespace

TEST_CASE("Threads: every block once, with borders that sizes alone decide") {
  const int num_threads = GENERATE(1, 2, 7);
  const Index count = GENERATE(0, 1, 2, 7, 63, 64, 65, 101, 1000), block_size = GENERATE(1, 3, 64, 2000);
  const Index blocks = (count + block_size - 1) / block_size;
  Visits visits(count);
  std::atomic<Index> calls = 0;
  std::atomic<bool> borders_fit = true;
  Threads(num_threads).for_blocks(count, block_size, [&](Index begin, Index end, Index number) {
    ++calls;
    visits.note(begin, end, number);
    if (begin != number * block_size || end != std::min(count, begin + block_size)) borders_fit = false;
  });
  CHECK(calls == blocks);
  CHECK(borders_fit);
  for (Index k = 0; k < count; ++k) {
    REQUIRE(visits.times[static_cast<std::size_t>(k)] == 1);
    REQUIRE(visits.block[static_cast<std::size_t>(k)] == k / block_size);
  }
}

TEST_CASE("Threads: one thread runs the blocks in order, on the calling thread") {
  std::vector<Index> order;
  bool elsewhere = false;
  const auto caller = std::this_thread::get_id();
  Threads(1).for_blocks(10, 3, [&](Index begin, Index, Index) {
    order.push_back(begin);
    elsewhere = elsewhere || std::this_thread::get_id() != caller;
  });
  CHECK(order == std::vector<Index>{0, 3, 6, 9});
  CHECK(!elsewhere);
}

TEST_CASE("Threads: no more than num_threads at a time") {
  const int num_threads = GENERATE(1, 2, 7);
  std::atomic<int> running = 0, most = 0;
  Threads(num_threads).for_blocks(200, 1, [&](Index, Index, Index) {
    const int now = ++running;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::yield();
    --running;
  });
  CHECK(most >= 1);
  CHECK(most <= num_threads);
}

TEST_CASE("Threads: an exception of a body surfaces on the calling thread as what it was") {
  const int num_threads = GENERATE(1, 2, 7);
  const Index culprit = GENERATE(0, 41, 99);
  const Threads threads(num_threads);
  const auto run = [&](const auto& thrower) {
    threads.for_blocks(100, 1, [&](Index begin, Index, Index) {
      if (begin == culprit) thrower();
    });
  };
  CHECK_THROWS_AS(run([] { twotower::fail("body", "no"); }), std::invalid_argument);
  CHECK_THROWS_WITH(run([] { twotower::fail("body", "no"); }), "body: no");
  CHECK_THROWS_AS(run([] { throw std::out_of_range("far"); }), std::out_of_range);
  CHECK_THROWS_AS(run([] { twotower::fail_numerically("body", "nan"); }), twotower::NumericalError);
  CHECK_THROWS_AS(run([] { throw std::bad_alloc(); }), std::bad_alloc);
  CHECK_THROWS_AS(run([] { throw 17; }), int);
  // The team still works.
  std::atomic<Index> sum = 0;
  threads.for_blocks(100, 7, [&](Index begin, Index end, Index) { sum += end - begin; });
  CHECK(sum == 100);
}

TEST_CASE("Threads: bodies may use the same team, or another") {
  const int num_threads = GENERATE(1, 2, 7);
  const Threads outer(num_threads), other(2);
  std::vector<std::atomic<int>> times(11 * 13);
  const auto inner = [&](const Threads& threads, Index row) {
    threads.for_blocks(13, 2, [&](Index begin, Index end, Index) {
      for (Index k = begin; k < end; ++k) ++times[static_cast<std::size_t>(row * 13 + k)];
    });
  };
  outer.for_blocks(11, 1, [&](Index row, Index, Index) { inner(row % 2 == 0 ? outer : other, row); });
  CHECK(std::all_of(times.begin(), times.end(), [](const auto& t) { return t == 1; }));
}

TEST_CASE("Threads: an exception from an inner loop surfaces through the outer one") {
  const Threads threads(2);
  const auto run = [&] {
    threads.for_blocks(8, 1, [&](Index row, Index, Index) {
      threads.for_blocks(8, 1, [&](Index k, Index, Index) {
        if (row == 5 && k == 3) twotower::fail("inner", "no");
      });
    });
  };
  CHECK_THROWS_WITH(run(), "inner: no");
}

TEST_CASE("Threads: denormals are flushed inside bodies and nowhere else, even after an exception") {
  const Threads threads(GENERATE(1, 2, 7));
  REQUIRE(!flushes_denormals());
  std::atomic<int> flushed = 0;
  threads.for_blocks(50, 1, [&](Index, Index, Index) { flushed += flushes_denormals() ? 1 : 0; });
  CHECK(flushed == 50);
  CHECK(!flushes_denormals());
  CHECK_THROWS(threads.for_blocks(50, 1, [&](Index, Index, Index) { twotower::fail("body", "no"); }));
  CHECK(!flushes_denormals());
}

TEST_CASE("FlushDenormals: guards nest and restore what they found") {
  const FlushDenormals outer;
  CHECK(flushes_denormals());
  {
    const FlushDenormals inner;
    CHECK(flushes_denormals());
  }
  CHECK(flushes_denormals());
}

TEST_CASE("Threads: counts, copies and refused numbers") {
  CHECK(twotower::available_threads() >= 1);
  CHECK(Threads().count() == 1);
  CHECK(Threads(7).count() == 7);
  CHECK(Threads(-1).count() == twotower::available_threads());
  const Threads threads(3), copy = threads;  // NOLINT(performance-unnecessary-copy-initialization)
  CHECK(copy.count() == 3);
  CHECK_THROWS_WITH(Threads(0), "Threads: num_threads is 0, but must be at least 1");
  CHECK_THROWS_WITH(Threads(-2), "Threads: num_threads is -2, but must be at least 1");
  CHECK_THROWS_WITH(threads.for_blocks(3, 0, [](Index, Index, Index) {}), "Threads: block_size is 0, but must be at least 1");
}

TEST_CASE("Threads: two bodies together, each with blocks of its own, inside the team or not") {
  const Threads threads(GENERATE(1, 2, 7));
  const bool inside = GENERATE(false, true);
  std::atomic<Index> first = 0, second = 0;
  const auto both = [&] {
    for (int round = 0; round < 20; ++round)
      threads.together([&] { threads.for_blocks(100, 7, [&](Index begin, Index end, Index) { first += end - begin; }); },
                       [&] { threads.for_blocks(50, 3, [&](Index begin, Index end, Index) { second += end - begin; }); });
  };
  if (inside)
    threads.inside(both);
  else
    both();
  CHECK(first == 2000);
  CHECK(second == 1000);
}

TEST_CASE("Threads: what a body throws comes out of together and inside") {
  const Threads threads(GENERATE(1, 2, 7));
  const auto nothing = [] {};
  const auto fails = [] { twotower::fail("body", "it fails"); };
  CHECK_THROWS_WITH(threads.together(fails, nothing), "body: it fails");
  CHECK_THROWS_WITH(threads.together(nothing, fails), "body: it fails");
  CHECK_THROWS_WITH(threads.inside([&] { threads.together(nothing, fails); }), "body: it fails");
}

TEST_CASE("tree_sum: exact sums for any number of parts, nothing for none") {
  const std::size_t count = GENERATE(1, 2, 3, 4, 5, 7, 8, 13);
  std::vector<std::vector<double>> values(count, std::vector<double>(5));
  std::vector<double*> parts;
  for (std::size_t p = 0; p < count; ++p) {
    std::iota(values[p].begin(), values[p].end(), static_cast<double>(p));
    parts.push_back(values[p].data());
  }
  tree_sum<double>(parts, 5);
  const auto n = static_cast<double>(count);
  for (std::size_t k = 0; k < 5; ++k) CHECK(values[0][k] == n * (n - 1) / 2 + n * static_cast<double>(k));
  CHECK_NOTHROW(tree_sum<double>({}, 5));
  CHECK_NOTHROW(tree_sum<double>(parts, 0));
}

TEST_CASE("tree_sum: the order is a tree, done on paper") {
  // ((1e8 + 1) + (-1e8 + 1)) + 1: in float 1e8 + 1 = 1e8 and -1e8 + 1 = -1e8, so the pairs cancel and 1 is left.
  // From left to right it would be ((((1e8 + 1) - 1e8) + 1) + 1) = 2.
  std::vector<float> values{1e8F, 1, -1e8F, 1, 1};
  std::vector<float*> parts;
  for (float& value : values) parts.push_back(&value);
  tree_sum<float>(parts, 1);
  CHECK(values[0] == 1);
}
