#include "twotower/nn/sequences.hpp"

#include "support/catch.hpp"
#include "support/sequence_kit.hpp"

using twotower::Index;
using twotower::Row;
using twotower::nn::Sequences;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;

namespace {

// Three sequences of 2, 0 and 3 elements from position 4 on, with 1, 0 and 2 readers from reader 7 on.
const std::vector<std::int64_t> kOffsets{4, 6, 6, 9}, kReaders{7, 8, 8, 10};
const Sequences kThree{kOffsets, {}, {}, kReaders, {}};

}  // namespace

TEST_CASE("Sequences: count what they hold, from wherever they start") {
  CHECK(kThree.count() == 3);
  CHECK(kThree.positions() == 5);
  CHECK(kThree.rows() == 3);
}

TEST_CASE("Sequences: a part keeps its places in the whole") {
  const Sequences last = kThree.part(1, 3), nothing = kThree.part(2, 2), all = kThree.part(0, 3);
  CHECK(last.count() == 2);
  CHECK(last.offsets.front() == 6);
  CHECK(last.readers.front() == 8);
  CHECK(last.positions() == 3);
  CHECK(last.rows() == 2);
  CHECK((nothing.count() == 0 && nothing.positions() == 0 && nothing.rows() == 0));
  CHECK((all.count() == 3 && all.positions() == 5 && all.rows() == 3));
  CHECK(last.part(1, 2).offsets.front() == 6);
  CHECK(last.part(1, 2).positions() == 3);
}

TEST_CASE("Sequences: of the tests hold what the contract allows, strangers aside") {
  const bool weighted = GENERATE(false, true);
  const SequenceCase input = random_sequences(31, 7, weighted, 5);
  const Sequences view = input.view();
  CHECK(view.count() == 31);
  CHECK(view.offsets.front() == 3);
  CHECK(view.readers.front() == 2);
  Index empty = 0, unread = 0, longest = 0, unread_elements = 0, of_length_0 = 0;
  for (std::size_t s = 0; s < 31; ++s) {
    const Index length = view.offsets[s + 1] - view.offsets[s];
    empty += length == 0;
    unread += view.readers[s] == view.readers[s + 1];
    longest = std::max(longest, length);
    Index seen = 0;
    for (std::int64_t r = view.readers[s]; r < view.readers[s + 1]; ++r) {
      const Index m = view.lengths[static_cast<std::size_t>(r)];
      CHECK((m >= 0 && m <= length));
      of_length_0 += m == 0;
      seen = std::max(seen, m);
    }
    unread_elements += length - seen;
    for (std::int64_t p = view.offsets[s]; p < view.offsets[s + 1]; ++p) {
      const Row code = view.codes[static_cast<std::size_t>(p)];
      CHECK((code > 0 && code < input.element_rows));
      if (weighted) CHECK(view.weights[static_cast<std::size_t>(p)] >= 0);
    }
  }
  CHECK(longest == 7);
  CHECK((empty > 0 && unread > 0 && unread_elements > 0 && of_length_0 > 0));
}
