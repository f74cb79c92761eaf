"use client";
import { useOperations, useConnection } from "tidings/react";
export function List() {
  const { status, operations } = useOperations();
  return <p>{`${status} ${operations.length} ${useConnection().state}`}</p>;
}
