#include "twotower/retrieval/panels.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using namespace twotower::retrieval;

TEST_CASE("PanelRun: the lanes that are items and are allowed") {
  const Index rows = GENERATE(1, kPanelWidth - 1, kPanelWidth, kPanelWidth + 1, 3 * kPanelWidth);
  const Row first_row = GENERATE(0, 5);
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(first_row + rows));
  for (std::size_t i = 0; i < allowed.size(); i += 3) allowed[i] = 255;
  PanelRun run{nullptr, first_row, rows, std::nullopt};
  CHECK(run.panels() == (rows + kPanelWidth - 1) / kPanelWidth);
  for (const bool masked : {false, true}) {
    if (masked) run.allowed = allowed;
    for (Index p = 0; p < run.panels(); ++p)
      for (Index lane = 0; lane < 64; ++lane) {
        const Index item = p * kPanelWidth + lane;
        const bool wanted = lane < kPanelWidth && item < rows && (!masked || (first_row + item) % 3 == 0);
        CHECK((run.mask(p) >> static_cast<unsigned>(lane) & 1) == (wanted ? 1 : 0));
      }
  }
}
