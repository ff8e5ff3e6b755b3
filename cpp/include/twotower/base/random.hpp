#pragma once
// Random numbers that depend on their key alone, never on who draws them or when. The standard distributions differ between
// libraries, so uniform, normal and shuffle are here.
#include <cstdint>
#include <span>
#include <utility>

#include "twotower/base/types.hpp"

namespace twotower {

/// What a stream is for; part of its key, so that two uses of one seed never share numbers.
enum class Purpose : std::uint64_t { kInitialize = 1, kGroup, kOrder, kNegative, kDropout, kSample, kTest, kUnknown };

/// A stream of random numbers keyed by (seed, purpose, epoch, row).
///
/// Source      Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64): a counter passed through
///             a mixing function, so that a stream costs two words and a start.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, Purpose purpose, std::uint64_t epoch = 0, std::uint64_t row = 0)
      : state_(mix(mix(mix(mix(seed + kStep) ^ static_cast<std::uint64_t>(purpose)) ^ epoch) ^ row)) {}

  std::uint64_t next() { return mix(state_ += kStep); }

  /// In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// In [0, bound); bound in [1, 2^32]. The bias of the multiply-shift is below bound / 2^64.
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>((static_cast<unsigned __int128>(next()) * static_cast<std::uint64_t>(bound)) >> 64);
  }

  /// Standard normal, by Box and Muller; draws two numbers each time, so that a stream's length is known.
  double normal();

  /// Fisher and Yates, from the end.
  template <class T>
  void shuffle(std::span<T> values) {
    std::size_t left = values.size();
    // Partners in a long list come from memory one by one unless they are asked for early.
    if (left > kAhead) {
      std::size_t partners[kAhead];
      const auto draw = [&](std::size_t i) {
        const auto partner = static_cast<std::size_t>(below(static_cast<std::int64_t>(i)));
        __builtin_prefetch(&values[partner], 1);
        partners[i % kAhead] = partner;
      };
      for (std::size_t i = left; i > left - kAhead; --i) draw(i);
      for (; left > 1; --left) {
        std::swap(values[left - 1], values[partners[left % kAhead]]);
        if (left > kAhead + 1) draw(left - kAhead);
      }
      return;
    }
    for (; left > 1; --left)
      std::swap(values[left - 1], values[static_cast<std::size_t>(below(static_cast<std::int64_t>(left)))]);
  }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  static constexpr std::size_t kAhead = 32;

  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace twotower
