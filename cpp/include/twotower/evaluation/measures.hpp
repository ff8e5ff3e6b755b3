#pragma once
// A metric at a cut-off, by name.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/base/types.hpp"

namespace twotower::evaluation {

template <class Metric>
struct Measure {
  Metric metric;
  Index cutoff;  // k: ranks 1 to k count
};

/// A metric and what it is called.
template <class Metric>
using Named = std::pair<std::string_view, Metric>;

/// The measure names[i] at cutoffs[i] for every i.
///
/// Throws      invalid_argument for sizes, a cutoff below 1, and a name that is not in `known`:
///             'ranking_metrics: metrics[1] is "recoll", but must be one of hits, recall'
template <class Metric>
std::vector<Measure<Metric>> measures_of(std::string_view function, std::span<const Named<Metric>> known,
                                         std::span<const std::string> names, std::span<const Index> cutoffs) {
  check_size(function, "the number of cutoffs", static_cast<Index>(cutoffs.size()), "the number of metrics",
             static_cast<Index>(names.size()));
  std::vector<Measure<Metric>> measures;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto entry = [i](const char* name) { return std::string(name) + "[" + std::to_string(i) + "]"; };
    const auto found =
        std::find_if(known.begin(), known.end(), [&](const Named<Metric>& named) { return named.first == names[i]; });
    if (found == known.end()) [[unlikely]] {
      std::string list;
      for (const Named<Metric>& named : known) list += (list.empty() ? "" : ", ") + std::string(named.first);
      fail(function, entry("metrics") + " is \"" + names[i] + "\", but must be one of " + list);
    }
    check_at_least(function, entry("cutoffs"), cutoffs[i], 1);
    measures.push_back({found->second, cutoffs[i]});
  }
  return measures;
}

/// The largest cut-off, 0 without measures. Throws where one is above the length of the lists: they might have been cut before
/// it.
template <class Metric>
Index largest_cutoff(std::string_view function, std::span<const Measure<Metric>> measures, Index length) {
  Index largest = 0;
  for (std::size_t i = 0; i < measures.size(); ++i) {
    largest = std::max(largest, measures[i].cutoff);
    if (measures[i].cutoff > length) [[unlikely]]
      fail(function, "cutoffs[" + std::to_string(i) + "] is " + std::to_string(measures[i].cutoff) + ", but must be at most " +
                         std::to_string(length) + ", the length of the lists; rank more items");
  }
  return largest;
}

/// Throws "ranking_metrics: ranked[3, 2] is -7, but must be an item row, or -1 at the end of a list".
void check_ranked(std::string_view function, ConstRows<Row> ranked);

}  // namespace twotower::evaluation
