#pragma once
// How good are the lists of single queries.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"
#include "twotower/evaluation/measures.hpp"

namespace twotower::evaluation {

/// With R the number of relevant items of a query, n hits in the top k and h(r) = 1 if the item at rank r (from 1) is relevant:
enum class RankingMetric : std::uint8_t {
  kHits,          // n
  kHitRate,       // 1 if n > 0, else 0
  kRecall,        // n / R
  kCappedRecall,  // n / min(k, R): Liang et al. 2018, arXiv:1802.05814, section 4
  kPrecision,     // n / k, also where the list is shorter than k
  kNdcg,          // sum over r <= k of h(r) / log2(r + 1), divided by the same sum for a list that starts with min(k, R) hits:
                  // Jarvelin, Kekalainen 2002, doi:10.1145/582415.582418, with gains 0 and 1
  kMrr,           // 1 / rank of the first hit, 0 if it comes after k: Voorhees 1999, "The TREC-8 question answering track report"
  kMap,  // sum over r <= k of h(r) * precision@r, divided by min(k, R): Manning, Raghavan, Schutze 2008, "Introduction to
         // information retrieval", section 8.4, which divides by R; a list cut at k cannot hold more than k of them
};

using RankingMeasure = Measure<RankingMetric>;

/// measures[i] is names[i] at cutoffs[i]. Names: hits, hit_rate, recall, capped_recall, precision, ndcg, mrr, map.
std::vector<RankingMeasure> ranking_measures(std::span<const std::string> names, std::span<const Index> cutoffs);

/// Relevant items of each query: those listed, and how many there are with those that no list can hold (outside the catalogue,
/// say).
///
/// Shapes      offsets (queries + 1)    items (all queries, one after the other)    counts (queries): R
/// Requires    within a query rows ascend without repeats; counts at least as many as are listed, and at least 1
struct RelevantItems {
  std::span<const std::int64_t> offsets;
  std::span<const Row> items;
  std::span<const std::int64_t> counts;
};

/// values(m, query) = measures[m] of that query's list. Each list is read once, whatever the number of measures.
///
/// Shapes      ranked (queries, K): item rows, best first, -1 where a list is shorter    values (measures, queries), written
/// Requires    cutoffs at most K, so that no list was cut before its cut-off
/// Throws      invalid_argument for a query without relevant items (leave it out), relevant items that are not sorted, a relevant
/// item
///             twice in one list, a row below -1, a row after -1, and sizes
/// Cost        queries * K searches in a list of relevant items; a few values a rank for 64 queries at a time
void ranking_metrics(ConstRows<Row> ranked, const RelevantItems& relevant, std::span<const RankingMeasure> measures,
                     const Threads& threads, Rows<double> values);

}  // namespace twotower::evaluation
