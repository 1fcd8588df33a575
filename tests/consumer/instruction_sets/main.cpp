// Calls those parts that it is linked with.
extern "C" {
[[gnu::weak]] void part_any(const char* name);
[[gnu::weak]] void part_native(const char* name);
}

int main() {
  if (part_any) part_any("any");
  if (part_native) part_native("native");
}
