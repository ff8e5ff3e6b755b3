#include "twotower/data/tokens.hpp"

#include <map>
#include <string>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower::data;
using twotower::Index;
using twotower::Row;

TEST_CASE("Tokens: the hash is that of FNV-1a and the buckets stay where they are") {
  // The published values of FNV-1a, 64 bits, for "", "a" and "foobar".
  CHECK(hash_bytes(kHashStart, "") == 0xcbf29ce484222325);
  CHECK(hash_bytes(kHashStart, "a") == 0xaf63dc4c8601ec8c);
  CHECK(hash_bytes(kHashStart, "foobar") == 0x85944171f73967e8);
  // SplitMix64 with the seed 0: the state after one step is 0x9e3779b97f4a7c15, its first number 0xe220a8397b1dcdaf.
  CHECK(spread_hash(0x9e3779b97f4a7c15) == 0xe220a8397b1dcdaf);
  CHECK(bucket_of(0, 1000) == 1);
  CHECK(bucket_of(hash_bytes(kHashStart, "star wars"), 1) == 1);
  CHECK(bucket_of(0x9e3779b97f4a7c15, 1000) == 1 + 0xe220a839 * 1000ULL / 0x100000000);
}

TEST_CASE("Tokens: buckets are filled evenly") {
  const Index buckets = 64, count = 64000;
  std::vector<int> filled(buckets + 1);
  for (Index k = 0; k < count; ++k)
    ++filled[static_cast<std::size_t>(bucket_of(hash_bytes(kHashStart, std::to_string(k)), buckets))];
  CHECK(filled[0] == 0);
  // 1000 a bucket with a deviation of 31.
  for (Index k = 1; k <= buckets; ++k) CHECK(std::abs(filled[static_cast<std::size_t>(k)] - 1000) < 160);
}

TEST_CASE("Tokens: a piece and a word of the same letters differ") {
  const Token word = token_of("cat"), piece = token_of("#cat");
  CHECK(!word.is_piece);
  CHECK(piece.is_piece);
  CHECK(piece.bytes == "cat");
  TokenTable table;
  CHECK(table.add(word) == 0);
  CHECK(table.find(piece) == -1);
  CHECK(table.add(piece) == 1);
  CHECK(table.find(word) == 0);
  CHECK(table.written(0) == "cat");
  CHECK(table.written(1) == "#cat");
  CHECK(table.token(1).is_piece);
  CHECK(table.token(1).bytes == "cat");
}

TEST_CASE("Tokens: the table agrees with a map") {
  const Index count = GENERATE(0, 1, 31, 32, 33, 5000);
  twotower::RandomStream random(7, twotower::Purpose::kTest);
  TokenTable table;
  std::map<std::string, Row> expected;
  for (Index k = 0; k < count; ++k) {
    const std::string written = (random.below(2) == 0 ? "#" : "") + std::to_string(random.below(count));
    const auto number = static_cast<Row>(expected.size());
    const bool is_new = expected.emplace(written, number).second;
    CHECK(table.find(token_of(written)) == (is_new ? -1 : expected[written]));
    CHECK(table.add(token_of(written)) == expected[written]);
  }
  CHECK(table.size() == std::ssize(expected));
  for (const auto& [written, number] : expected) {
    CHECK(table.written(number) == written);
    CHECK(table.find(table.token(number)) == number);
  }
  CHECK(table.find(token_of("not here")) == -1);
}

TEST_CASE("Tokens: equal hashes do not make tokens equal") {
  TokenTable table;
  CHECK(table.add({42, "one", false}) == 0);
  CHECK(table.add({42, "two", false}) == 1);
  CHECK(table.add({42, "one", true}) == 2);
  CHECK(table.find({42, "two", false}) == 1);
  CHECK(table.find({42, "six", false}) == -1);
}
