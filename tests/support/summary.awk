# Adds up ctest's LastTest.log files: doctest's test cases, and the other tests one each. `status` is what ctest or the
# whole run returned: a failure that left no trace in a log (a program that was not built) still counts.
function close_test() {
  if (name == "") return
  if (!counted) { if (ok) passed++; else failed++ }
  else if (!ok && !case_failed) failed++
  name = ""
}
/^[0-9]+\/[0-9]+ Testing: / { close_test(); name = $3; ok = counted = case_failed = 0 }
/^\[doctest\] test cases: / {
  counted = 1
  for (i = 1; i < NF; ++i) {
    if ($(i + 1) == "passed") passed += $i
    if ($(i + 1) == "failed") { failed += $i; case_failed += $i }
  }
}
/^REARM-SKIPPED: / { skipped++; passed--; print }
/^Test (Passed\.|Pass Reason:)$/ { ok = 1 }
END {
  close_test()
  if (status && !failed) failed = 1
  printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
}
