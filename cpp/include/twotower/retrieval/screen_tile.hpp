#pragma once
// The micro-kernel of the 8-bit screen: which items of a panel may matter to a few queries.
#include <cstdint>

#include "twotower/base/types.hpp"

namespace twotower::retrieval {

// A tile is 3 registers of items times 8 queries: 24 accumulators, as in the kernel of float32.
inline constexpr int kScreenWidth = 48, kScreenTile = 8;

/// Codes side by side in one word: what one instruction multiplies and adds up.
inline constexpr int kWordCodes = 4;

/// The widest vectors whose sums of products of codes, and bounds for them, stay within 32 bits with their sign.
inline constexpr Index kScreenMaxWidth = 32768;

/// Bit i of masks[q] says whether starts[q] + sum_k item_code(i, k) * query_code(q, k) >= 0. Tells whether any bit is set; the
/// masks are written only then.
///
/// Shapes      panel (words, kScreenWidth) words of 4 unsigned codes, 64-byte aligned
///             queries (words, kScreenTile) words of 4 signed codes    starts, masks (kScreenTile), as many as the tile's queries
/// Cost        with VNNI one instruction for 64 products. The sums never leave the registers: storing them would take a third
///             of the time at width 64.
using ScreenTile = bool (*)(const std::int32_t* panel, const std::int32_t* queries, Index words, const std::int32_t* starts,
                            std::uint64_t* masks);

/// The kernel for `count` queries, count in [1, kScreenTile], that is fastest on this CPU.
ScreenTile screen_tile(Index count);

/// The kernel that runs everywhere, and is slow.
ScreenTile portable_screen_tile(Index count);

/// Whether this module and this CPU have a kernel that makes a screen worth its while: AVX-512 with VNNI.
bool has_screen();

}  // namespace twotower::retrieval
