#include "twotower/nn/transformer_block.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/sequence_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::Chunk;
using twotower::nn::Part;
using twotower::nn::Pass;
using twotower::nn::Sequences;
using twotower::nn::Shelf;
using twotower::nn::TransformerBlock;
using twotower::test::random_matrix;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;

// What a block computes, causal_transformer_test.cpp compares with plain loops and with differences; here is what it is made of.

TEST_CASE("Chunk: holds what is read of whole sequences, in order") {
  // Sequences of 4, 2, 0 and 3 elements from position 10 on, with readers of 2 and 3, none, 0, and 3.
  const std::vector<std::int64_t> offsets{10, 14, 16, 16, 19}, readers{5, 7, 7, 8, 9};
  const std::vector<std::int32_t> lengths{9, 9, 9, 9, 9, 2, 3, 0, 3, 9};
  const Chunk chunk(Sequences{offsets, {}, {}, readers, lengths}, 0);
  REQUIRE(chunk.size == 3);
  CHECK((chunk.next == 4 && chunk.rows == 6 && chunk.reader == 0 && chunk.readers() == 4));
  const auto equal = [](const Part& a, const Part& b) {
    return a.position == b.position && a.count == b.count && a.row == b.row && a.reader == b.reader && a.readers == b.readers;
  };
  CHECK(equal(chunk.parts[0], {0, 3, 0, 0, 2}));
  CHECK(equal(chunk.parts[1], {6, 0, 3, 2, 1}));
  CHECK(equal(chunk.parts[2], {6, 3, 3, 3, 1}));
  CHECK(std::vector(chunk.lengths.begin(), chunk.lengths.end()) == std::vector<std::int32_t>{2, 3, 0, 3});
}

TEST_CASE("for_chunks: covers every sequence once, in pieces that end by rows or by sequences") {
  const auto [count, longest] = GENERATE(std::pair<Index, Index>{0, 0}, std::pair<Index, Index>{500, 1},
                                         std::pair<Index, Index>{200, 50}, std::pair<Index, Index>{3, 1000});
  const SequenceCase input = random_sequences(count, longest, false, 8);
  const Sequences all = input.view();
  Index next = 0, reader = 0, chunks = 0;
  twotower::nn::for_chunks(all, [&](const Chunk& chunk) {
    CHECK(chunk.reader == reader);
    CHECK(chunk.next > next);
    CHECK((chunk.size == 1 || (chunk.rows <= 256 && chunk.readers() <= 256)));
    Index row = 0, its_reader = 0;
    for (const Part& part : chunk.all()) {
      CHECK((part.row == row && part.reader == its_reader));
      row += part.count;
      its_reader += part.readers;
    }
    CHECK((row == chunk.rows && its_reader == chunk.readers()));
    next = chunk.next;
    reader += chunk.readers();
    ++chunks;
  });
  CHECK((next == all.count() && reader == all.rows()));
  if (count > 100) CHECK(chunks > 1);
}

TEST_CASE("Shelf: hands out whole lines, and counts the same from nowhere") {
  std::vector<float> memory(1000);
  Shelf<float> shelf{memory.data()}, counting;
  CHECK(shelf.take(3) == memory.data());
  CHECK(shelf.take(16) == memory.data() + 16);
  const auto rows = shelf.rows(5, 17);
  CHECK((rows.data() == memory.data() + 32 && rows.rows() == 5 && rows.cols() == 17 && rows.outerStride() == 32));
  CHECK(counting.take(3) == nullptr);
  counting.take(16);
  counting.rows(5, 17);
  CHECK((counting.used == shelf.used && shelf.used == 32 + 5 * 32));
}

TEST_CASE("drop: keeps the mean, scales what it keeps, and does nothing outside training") {
  const double keep = GENERATE(0.1, 0.5, 0.9);
  const std::vector<std::int64_t> offsets{0, 200}, readers{0, 1};
  const std::vector<std::int32_t> lengths{200};
  const Chunk chunk(Sequences{offsets, {}, {}, readers, lengths}, 0);
  Matrix<double> mask = Matrix<double>::Ones(200, 101);
  twotower::nn::drop<double>(chunk, false, keep, 3, mask, {});
  CHECK((mask.array() == 1).all());
  twotower::nn::drop<double>(chunk, false, keep, 3, mask, {true, 5, 17, 100});
  const double scale = mask.maxCoeff();
  CHECK((mask.array() == 0 || mask.array() == scale).all());
  CHECK(scale == Approx(1 / keep).epsilon(1e-4));
  CHECK(std::abs(mask.mean() - 1) < 5 * std::sqrt((1 - keep) / keep / static_cast<double>(mask.size())));
  // Each of the four values of a draw.
  for (Index first = 0; first < 4; ++first)
    CHECK(std::abs(mask(Eigen::all, Eigen::seq(first, Eigen::last, 4)).mean() - 1) <
          5 * std::sqrt((1 - keep) / keep / static_cast<double>(mask.size() / 4)));
  // A reader has the mask of the newest position that it sees.
  Matrix<double> of_reader = Matrix<double>::Ones(1, 101);
  twotower::nn::drop<double>(chunk, true, keep, 3, of_reader, {true, 5, 17, 100});
  CHECK(of_reader == mask.row(199));
}

TEST_CASE("TransformerBlock: with weights of zero passes x through, to every position or to readers") {
  const bool last = GENERATE(false, true);
  const TransformerBlock block{6, 2, 5, 1.0, 0, last};
  const SequenceCase input = random_sequences(5, 7, false, 8);
  const Chunk chunk(input.view(), 0);
  const std::vector<double> parameters(static_cast<std::size_t>(block.parameter_count()), 0);
  std::vector<double> memory(100000);
  Shelf<double> shelf{memory.data()};
  TransformerBlock::Kept<double> kept(block, chunk, shelf);
  const TransformerBlock::Scratch<double> scratch(block, std::max(chunk.rows, chunk.readers()), block.attention_size(chunk),
                                                  shelf);
  const TransformerBlock::Packed<double> packed(block, TransformerBlock::Way::kForward, parameters.data(), shelf);
  kept.x = random_matrix<double>(chunk.rows, 6, 1);
  Matrix<double> y(block.rows_out(chunk), 6);
  block.forward<double>(parameters.data(), packed, chunk, kept, scratch, y, {});
  if (!last) {
    CHECK(y == kept.x);
    return;
  }
  for (const Part& part : chunk.all())
    for (Index r = part.reader; r < part.reader + part.readers; ++r) {
      const Index length = chunk.lengths[static_cast<std::size_t>(r)];
      CHECK(y.row(r) ==
            (length == 0 ? Matrix<double>(Matrix<double>::Zero(1, 6)) : Matrix<double>(kept.x.row(part.row + length - 1))));
    }
}
