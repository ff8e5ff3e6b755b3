#pragma once
// Tokens of texts: how they are written, hashed and numbered.
//
// A run of words is written with one space between them, "star wars". A piece of a word (a run of characters) is written with a
// # in front, "#<sta", so that it never equals a word; < and > are the borders of its word.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "twotower/base/types.hpp"

namespace twotower::data {

/// FNV-1a of 64 bits over the bytes of the token as it is written. Saved models rely on it: it never changes.
///
/// Source      Fowler, Noll, Vo, Eastlake 2019, "The FNV non-cryptographic hash algorithm"
constexpr std::uint64_t kHashStart = 0xcbf29ce484222325;

constexpr std::uint64_t hash_byte(std::uint64_t hash, std::uint8_t byte) { return (hash ^ byte) * 0x100000001b3; }

inline std::uint64_t hash_bytes(std::uint64_t hash, std::string_view bytes) {
  for (const char byte : bytes) hash = hash_byte(hash, static_cast<std::uint8_t>(byte));
  return hash;
}

/// All bits of a hash depend on all others, which FNV alone does not give for short tokens (the last step of SplitMix64).
constexpr std::uint64_t spread_hash(std::uint64_t hash) {
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

/// A code in [1, buckets]: the upper part of the spread hash times `buckets`. As lasting as the hash.
constexpr Row bucket_of(std::uint64_t hash, Index buckets) {
  return static_cast<Row>(1 + (static_cast<unsigned __int128>(spread_hash(hash)) * static_cast<std::uint64_t>(buckets) >> 64));
}

/// A token while it is looked up; `bytes` lie with the one who made it, without the # of a piece.
struct Token {
  std::uint64_t hash = kHashStart;
  std::string_view bytes;
  bool is_piece = false;
};

/// The token that is written like this.
Token token_of(std::string_view written);

/// Tokens numbered from 0 in the order of adding. Tokens are compared byte by byte: equal hashes do no harm.
class TokenTable {
 public:
  Index size() const { return static_cast<Index>(hashes_.size()); }

  /// -1 for a token that is not here.
  Row find(const Token& token) const;

  /// Its number, a new one where it was not here.
  Row add(const Token& token);

  /// As it is written; valid until the next add.
  std::string_view written(Row number) const;
  Token token(Row number) const;

 private:
  struct Slot {
    std::uint32_t tag = 0;  // upper half of the spread hash, so that most comparisons end here
    Row number = -1;
  };

  /// The slot that holds the token or is free for it.
  std::size_t slot_of(const Token& token, std::uint64_t spread) const;
  bool equals(Row number, const Token& token) const;
  void grow();

  std::vector<Slot> slots_;  // a power of two, at most half of them taken
  std::vector<std::uint64_t> hashes_;
  std::vector<std::size_t> ends_;  // of the tokens in bytes_
  std::string bytes_;
};

}  // namespace twotower::data
