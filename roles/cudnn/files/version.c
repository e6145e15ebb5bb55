// Asks cuDNN for its version, and compares it with the one of the headers. The declaration stands here because cudnn.h
// wants the headers of a CUDA toolkit, which this does not need.
#include <cudnn_version.h>
#include <stddef.h>
#include <stdio.h>

size_t cudnnGetVersion(void);

int main(void) {
  printf("%d.%d.%d\n", CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL);
  if (cudnnGetVersion() == CUDNN_VERSION) return 0;
  printf("the library is %zu, the headers are %d\n", cudnnGetVersion(), CUDNN_VERSION);
  return 1;
}
